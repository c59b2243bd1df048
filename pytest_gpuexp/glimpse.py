"""What a run in progress has said last."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from pytest_gpuexp.figures import clean

_LAST_BYTES = 4096
_MOST_METRICS = 3
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def latest(folder: Path) -> str:
    """Return the last metrics of the attempt in ``folder``, else the last line of its log, or "".

    As ``step 12  loss 0.31``; what is being written right now is left out.
    """
    for line in reversed(_last_lines(folder / "metrics.jsonl")):
        told = _metrics(line)
        if told:
            return told
    said = [clean(_COLOURS.sub("", line)).strip() for line in _last_lines(folder / "log.txt")]
    return next((line for line in reversed(said) if line), "")


def _metrics(line: str) -> str:
    try:
        point = json.loads(line)
        values = list(point["metrics"].items())[:_MOST_METRICS]
        shown = "  ".join(f"{clean(name)} {float(value):.4g}" for name, value in values)
        return f"step {int(point['step'])}  {shown}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""  # a handler wrote into the file, or it was cut in the middle


def _last_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text.split("\n")[:-1]
