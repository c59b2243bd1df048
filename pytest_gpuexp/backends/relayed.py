"""What a call prints while it runs, taken apart into the log and the series of its run."""

from __future__ import annotations

from pathlib import Path

MARK = "\x1emetrics "
"""Begins a line of the series; the record separator is in no log that people read."""


class Relayed:
    """Adds the output of one call to the files of its attempt, line by line."""

    def __init__(self, log: Path) -> None:
        """Write to ``log``, and to ``metrics.jsonl`` beside it; both are made when needed."""
        self._log = log
        self._half = ""

    def add(self, text: str) -> None:
        """Take what was printed next, cut anywhere."""
        *lines, self._half = (self._half + text).split("\n")
        lines = [f"{line}\n" for line in lines]
        if not self._half.startswith(MARK[0]):  # a line that is not ended, a progress bar's for one
            lines.append(self._half)
            self._half = ""
        self._append(self._log, "".join(one for one in lines if not one.startswith(MARK)))
        points = "".join(one.removeprefix(MARK) for one in lines if one.startswith(MARK))
        self._append(self._log.with_name("metrics.jsonl"), points)

    def _append(self, path: Path, text: str) -> None:
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
