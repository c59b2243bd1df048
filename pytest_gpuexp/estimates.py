"""How long the rest of a session takes."""

from __future__ import annotations

from collections.abc import Collection

from pytest_gpuexp.records import ExperimentResult


class Estimate:
    """The time that is left, told from the runs that have ended in this session."""

    def __init__(self) -> None:
        self._ended = 0
        self._seconds = 0.0
        self._lanes = 1

    def add(self, result: ExperimentResult) -> None:
        """Count a run that has ended; one that was broken off says nothing about the others."""
        if result.status in ("completed", "failed", "timeout", "oom"):
            self._ended += 1
            self._seconds += result.duration_seconds

    def widen(self, running: int) -> None:
        """Say how many run at once right now; the most ever seen is what counts."""
        self._lanes = max(self._lanes, running)

    def seconds_left(self, *, pending: int, ages: Collection[float]) -> float | None:
        """Return the estimate; None before two runs have ended.

        ``pending`` runs have not begun, the others run for ``ages`` seconds. Every run is taken
        to last as long as those that have ended did on average.
        """
        if self._ended < 2:
            return None
        mean = self._seconds / self._ended
        rest = [max(0.0, mean - age) for age in ages]
        work = max(0, pending) * mean + sum(rest)
        return max([work / self._lanes, *rest])
