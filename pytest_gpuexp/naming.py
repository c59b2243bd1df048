"""Which files are experiments by their name."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path


def is_experiment(path: Path, patterns: Sequence[str]) -> bool:
    """Return whether ``path`` meets one of ``patterns``; those with "/" speak of the whole path."""
    return any(
        fnmatch.fnmatch(path.as_posix() if "/" in pattern else path.name, pattern)
        for pattern in patterns
    )
