"""Ends a container: its processes, those too that have left its group."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MARK = "MODAL_TASK_ID"
"""Stands in the environment of all that a container starts."""


def end(pid: int, task_id: str) -> None:
    """Kill the group that ``pid`` leads, and whatever else bears the mark of the container."""
    # It may be gone, and its number another's.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for other in marked(task_id):
        try:
            os.kill(other, signal.SIGKILL)
        except ProcessLookupError:
            continue


def marked(task_id: str) -> Iterator[int]:
    """Give the processes that a container has started, itself included."""
    wanted = f"{MARK}={task_id}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if wanted in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                yield int(name)
        except OSError:
            continue


def born(pid: int) -> float:
    """Return when a process began, in clock ticks since the machine did; 0 where it is gone.

    A zombie is gone: nobody but its parent can tell it from one that was reaped.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return 0.0 if fields[0] in "ZX" else float(fields[19])
