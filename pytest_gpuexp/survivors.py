"""Attempts of other sessions that are still on their way, and the wait for their end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from pytest_gpuexp import processes


def surviving(handles: Iterable[str]) -> set[str]:
    """Return those of ``handles`` whose snapshot lives on this machine.

    A handle is the snapshot's pid and its start in clock ticks since boot, ``4711:80923``: another
    process that was given its pid since does not pass for it, and neither does one that has ended
    and waits to be reaped.
    """
    found = set()
    for handle in set(handles):
        pid, _, started = handle.partition(":")
        if pid.isdecimal() and started and processes.lives(int(pid), started):
            found.add(handle)
    return found


def outwait(handles: Collection[str], *, sleep: Callable[[float], None], every: float) -> None:
    """Return when no snapshot of ``handles`` lives any more, looked at ``every`` seconds.

    A snapshot ends with its last run where its session is gone, and with its session where not;
    what it ran has its record by then.
    """
    while handles := surviving(handles):
        sleep(every)
