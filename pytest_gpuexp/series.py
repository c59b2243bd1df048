"""A run's metrics over its steps, as a file that survives the run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path


class SeriesWriter:
    """Appends one JSON line a point, in one write, so that a kill costs no earlier point."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Write to ``path``, made with the first point; ``clock`` gives Unix seconds."""
        self._path = path
        self._clock = clock
        self._file: int | None = None
        self._next_step = 0
        self.last: dict[str, float] = {}

    def append(self, metrics: Mapping[str, float], step: int | None) -> int:
        """Keep ``metrics`` at ``step``, or at the one after the highest so far; return the step."""
        at = self._next_step if step is None else step
        self._next_step = max(self._next_step, at + 1)
        point = {"step": at, "time": round(self._clock(), 3), "metrics": dict(metrics)}
        line = (json.dumps(point, ensure_ascii=False) + "\n").encode()
        file = self._open_file()
        while line:
            line = line[os.write(file, line) :]
        self.last.update(metrics)
        return at

    def close(self) -> None:
        """Bring all points to the disk."""
        if self._file is not None:
            file = self._open_file()
            os.fsync(file)
            os.close(file)
            self._file = None

    def _open_file(self) -> int:
        if self._file is None or not _is_open(self._file, self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        return self._file


def _is_open(file: int, path: Path) -> bool:
    """Return whether ``file`` still is ``path``: handlers have closed every descriptor there was.

    A number may have been given to another file since, into which nobody wants metrics.
    """
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def last_values(path: Path) -> dict[str, float]:
    """Return the last value logged under each name; {} where nothing was, a torn line left out."""
    last: dict[str, float] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return last
    for line in lines[:-1]:  # what follows the last newline was never finished
        try:
            last.update(json.loads(line)["metrics"])
        except (ValueError, KeyError, TypeError):
            continue  # a handler wrote into the file; its other points still count
    return last
