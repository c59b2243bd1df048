"""What a claim says: which attempt a session makes, of which code, and how it is found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields

from pytest_gpuexp import documents
from pytest_gpuexp.errors import RecordInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A session: its name, its machine, and there its pid with its start in ticks since boot.

    Only on the same ``machine`` does ``process`` name one; "" is a machine that cannot be told.
    """

    session: str = ""
    machine: str = ""
    process: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The intent of one attempt; ``code`` is a digest of the fingerprint of what it executes.

    ``session``, ``machine`` and ``process`` are of its ``Owner``. ``handle`` is by which the
    backend finds the attempt again, "" where nothing is. Claims of older versions have no owner.
    """

    run_id: str
    attempt: int
    name: str = ""
    backend: str = ""
    submitted_at: str = ""
    session: str = ""
    machine: str = ""
    process: str = ""
    code: str = ""
    handle: str = ""

    @property
    def key(self) -> str:
        """Return the stem of the attempt's files."""
        return f"{self.run_id}.{self.attempt}"

    def dumped(self) -> bytes:
        """Return the claim as YAML, its strings as JSON writes them; what is empty is left out."""
        entries = ((field.name, getattr(self, field.name)) for field in fields(self))
        lines = [
            f"{name}: {value if name in ('run_id', 'attempt') else json.dumps(value)}\n"
            for name, value in entries
            if value != ""
        ]
        return "".join(lines).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An attempt that was begun: by which backend, when (UTC), and what finds it again."""

    number: int
    backend: str
    handle: str
    submitted_at: str
    code: str

    def is_of(self, code: str) -> bool:
        """Return whether it executes ``code``; claims of older versions do not say."""
        return self.code in ("", code)


def read_claim(data: bytes, place: str) -> Claim | None:
    """Return the claim that ``data`` holds; None where it is torn or was written by hand."""
    try:
        content = documents.load(data, place=place)
    except RecordInvalid:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("attempt"), int):
        return None
    known = {field.name for field in fields(Claim)} - {"attempt"}
    texts = {key: str(value) for key, value in content.items() if key in known}
    return Claim(**{"run_id": "", **texts}, attempt=content["attempt"])


def code_of(fingerprint: Mapping[str, str]) -> str:
    """Return a digest of ``fingerprint``; two attempts of the same code have the same."""
    text = json.dumps(sorted(fingerprint.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
