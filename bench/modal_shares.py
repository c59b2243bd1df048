"""Which processes of a Modal server's machine took how much CPU, from what Linux counts."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from tests.modal_server.starting import ModalServer

PARTS = ("client", "server", "runtime", "snapshot", "children")
"""``client``: what this process has started and waited for; ``runtime``: the containers' own."""
_TICKS = os.sysconf("SC_CLK_TCK")


class Shares:
    """Adds up CPU seconds by part since it was made."""

    def __init__(self, server: ModalServer, pid: int) -> None:
        """Watch ``server``, whose process is ``pid``, and what runs in its containers."""
        self._server = server
        self._pid = pid
        self._before = dict(self._now())

    def taken(self) -> dict[str, float]:
        """Return the CPU seconds of each of ``PARTS``; what has ended meanwhile is not counted."""
        found = dict.fromkeys(PARTS, 0.0)
        for (part, pid), seconds in self._now():
            found[part] += seconds - self._before.get((part, pid), 0.0)
        return found

    def _now(self) -> Iterator[tuple[tuple[str, int], float]]:
        waited = resource.getrusage(resource.RUSAGE_CHILDREN)
        yield ("client", 0), waited.ru_utime + waited.ru_stime
        containers = {each["pid"] for each in self._server.containers()}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                counted = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            pid, parent = int(entry.name), int(counted[1])
            own, reaped = (sum(map(int, counted[at : at + 2])) / _TICKS for at in (11, 13))
            if pid == self._pid:
                yield ("server", pid), own
            elif pid in containers:
                yield ("runtime", pid), own
            elif parent in containers:
                yield ("snapshot", pid), own
                yield ("children", pid), reaped
