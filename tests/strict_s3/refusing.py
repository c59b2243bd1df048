"""What a strict server says when it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Refused(Exception):
    """A request that is not carried out: HTTP status, S3's code, and what else is told."""

    status: int
    code: str
    about: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it came: ``path`` and ``query`` still encoded, header names in small letters."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
