"""Which run holds which GPU, agreed between all sessions of this user on this machine."""

from __future__ import annotations

import getpass
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock


class Leases:
    """Hands out GPU tokens; each is held by at most one run, across processes.

    A lease is a lock on a file, so it ends with the process that holds it, however that ends.
    """

    def __init__(self, tokens: Sequence[str], folder: Path | None = None) -> None:
        """Hand out ``tokens``; sessions that share ``folder`` share their GPUs."""
        self._tokens = tuple(tokens)
        self._folder = folder or Path(tempfile.gettempdir()) / f"gpuexp-leases-{_user()}"
        self._held: dict[str, FileLock] = {}
        # Its handlers around fork would cost every run of a machine without GPUs a millisecond.
        import filelock

        self._make_lock, self._timeout = filelock.FileLock, filelock.Timeout

    def acquire(self, count: int) -> tuple[str, ...] | None:
        """Return ``count`` tokens, or None where so many are not free now; never waits."""
        if count == 0:
            return ()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        taken: list[str] = []
        for token in self._tokens:
            if token not in self._held and self._lock(token):
                taken.append(token)
            if len(taken) == count:
                return tuple(taken)
        self.release(taken)
        return None

    def release(self, tokens: Sequence[str]) -> None:
        """Give ``tokens`` back."""
        for token in tokens:
            self._held.pop(token).release()

    def _lock(self, token: str) -> bool:
        name = re.sub(r"[^\w.-]", "_", token)
        lock = self._make_lock(self._folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except self._timeout:
            return False
        self._held[token] = lock
        return True


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
