"""Ending a process together with all that it has started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path

END_RUNS = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""What tells a snapshot to end its runs and record them as cancelled."""
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS = 100
_ROUND_SECONDS = 0.01
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent has ended (Linux alone)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (Linux alone)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def outlive_parent() -> None:
    """Have the kernel leave this process alone when its parent ends (Linux alone).

    It is an heir of that parent then, by its name among the processes.
    """
    if _libc is not None:
        name = ctypes.create_string_buffer(_heir(os.getppid()).encode())
        _libc.prctl(_PR_SET_NAME, name, 0, 0, 0)
        _libc.prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


def has_heirs(pid: int) -> bool:
    """Return whether a process still runs that was to outlive its parent ``pid``."""
    return any(_named(path) == _heir(pid) for path in Path("/proc").glob("[0-9]*/comm"))


def _heir(pid: int) -> str:
    return f"gpuexp:{pid}"  # the kernel keeps 15 characters


def _named(comm: Path) -> str:
    try:
        return comm.read_text().rstrip("\n")
    except OSError:
        return ""


def await_ends(pids: Collection[int], *, seconds: float) -> None:
    """Wait until none of ``pids`` runs any more, for so many seconds at most."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if all((_stat(pid) or "Z")[0] in "ZX" for pid in pids):
            return
        time.sleep(_ROUND_SECONDS)


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the group that ``pid`` leads, or to ``pid`` where it leads none yet."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end_orphans(known: Collection[int]) -> int:
    """Kill every child of this process that is not in ``known``, and return how many there were.

    Where a run's process adopts its own orphans, those of an ended run are just the unknown ones.
    """
    ended = 0
    for _ in range(_ROUNDS):
        unknown = [pid for pid in children() if pid not in known]
        if not unknown:
            break
        for pid in unknown:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in unknown:
            ended += _reap(pid)
    return ended


def _reap(pid: int) -> int:
    for _ in range(_ROUNDS):
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return 1
        except ChildProcessError:
            return 0
        time.sleep(_ROUND_SECONDS)  # a killed process in the kernel's hands takes its time
    return 0


def resident_bytes() -> int:
    """Return how much memory this process holds now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def children() -> list[int]:
    """Return the pids of this process's children; [] where the system does not tell."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return []
    return [int(pid) for pid in text.split()]


def start_time(pid: int) -> str | None:
    """Return when ``pid`` started, in clock ticks since boot; with the pid it names one process."""
    fields = _stat(pid)
    return fields[19] if fields else None


def lives(pid: int, started: str) -> bool:
    """Return whether the process that ``start_time`` gave ``started`` for has not ended yet."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX" and fields[19] == started


def _stat(pid: int) -> list[str]:
    """Return what the kernel tells of ``pid``, from its state on; [] where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def oom_kills() -> int:
    """Return how many processes the kernel has ended for want of memory since boot."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
