"""Moments as text."""

from __future__ import annotations

import datetime


def utc(seconds: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC, to the millisecond: ``2026-01-31T09:30:00.000Z``."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(moment: str, *, default: float) -> float:
    """Return the Unix seconds of ``moment`` as ``utc`` writes it, ``default`` where it is none."""
    try:
        return datetime.datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return default
