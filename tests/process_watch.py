"""Counts the processes that a test session has started, and ends them where they are too many.

As a program it watches from outside, so that a fork bomb ends even where the session hangs:
``python process_watch.py MARK ROOT MOST FILE``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

# Every program that a session starts inherits it in its environment, however it is started.
MARK = "PYTEST_GPUEXP_TEST_SESSION"
_SECONDS = 0.1


class ProcessWatch:
    """Knows which processes descend from the test session ``root``, adopted ones too."""

    def __init__(self, mark: str, root: int) -> None:
        """Find processes that have ``mark`` in their environment, or a parent among those found."""
        self._entry = f"{MARK}={mark}".encode()
        self._root = root
        self._known: dict[int, bool] = {}

    def alive(self) -> set[int]:
        """Return the pids, without ``root`` and without this process; {} where /proc is absent."""
        try:
            pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        except FileNotFoundError:
            return set()
        self._known = {pid: is_ours for pid, is_ours in self._known.items() if pid in pids}
        for pid in sorted(pids - self._known.keys()):  # parents first, mostly
            self._known[pid] = self._is_ours(pid)
        found = {pid for pid, is_ours in self._known.items() if is_ours}
        return {pid for pid in found - {self._root, os.getpid()} if _state(pid)[0] not in "ZX"}

    def _is_ours(self, pid: int) -> bool:
        try:
            if self._entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return True
        except OSError:
            return False
        parent = _state(pid)[1]
        return parent == self._root or self._known.get(parent, False)


def _state(pid: int) -> tuple[str, int]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", 0
    return fields[0], int(fields[1])


def end(pids: set[int]) -> None:
    """Kill ``pids``, each by its number."""
    for pid in pids:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue


def main() -> None:
    mark, root, most, file = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    watch = ProcessWatch(mark, root)
    while os.getppid() == root:
        alive = watch.alive()
        if len(alive) > most:
            end(alive)
            file.write_text(str(len(alive)))
        time.sleep(_SECONDS)


if __name__ == "__main__":
    main()
