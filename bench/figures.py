"""What was measured, and the arithmetic that turns it into times a run and ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.task import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The repetitions of one contender at one size, or why there are none.

    ``walls_s`` is in the order measured; ``peak_kib`` and ``sdks`` are None where nobody looked.
    """

    contender: str
    work: Work
    runs: int
    walls_s: tuple[float, ...] = ()
    peak_kib: int | None = None
    sdks: tuple[str, ...] | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """All figures of one session; what was not measured is None, and so is what follows from it."""

    figures: Sequence[Figure]

    def of(self, contender: str, work: Work) -> list[Figure]:
        """Return a contender's figures for one kind of work, smallest size first."""
        mine = [f for f in self.figures if f.contender == contender and f.work == work]
        return sorted(mine, key=lambda figure: figure.runs)

    def _done(self, contender: str, work: Work) -> list[Figure]:
        return [figure for figure in self.of(contender, work) if figure.walls_s]

    def wall_s(self, contender: str, work: Work, runs: int) -> float | None:
        """Return the best wall time of exactly ``runs`` runs, in seconds."""
        best = [min(f.walls_s) for f in self._done(contender, work) if f.runs == runs]
        return best[0] if best else None

    def marginal_ms(self, contender: str, work: Work) -> float | None:
        """Return what one more run costs, in ms: between the best times of two sizes."""
        done = self._done(contender, work)
        if len(done) < 2:
            return None
        small, large = done[0], done[-1]
        seconds = min(large.walls_s) - min(small.walls_s)
        return 1000 * seconds / (large.runs - small.runs)

    def reckoned_s(self, contender: str, work: Work, runs: int) -> float | None:
        """Return the wall time of ``runs`` runs, reckoned from two sizes if not measured."""
        marginal = self.marginal_ms(contender, work)
        measured = self.wall_s(contender, work, runs)
        if measured is not None or marginal is None:
            return measured
        small = self._done(contender, work)[0]
        return min(small.walls_s) + (runs - small.runs) * marginal / 1000

    def overhead_ms(self, contender: str, work: Work) -> float | None:
        """Return the marginal time of a run less the work itself, as a bare loop does it, in ms."""
        return difference(self.marginal_ms(contender, work), self.marginal_ms("loop", work))

    def largest_wall_s(self, contender: str, work: Work) -> float | None:
        """Return the best wall time at the largest size measured, in seconds."""
        done = self._done(contender, work)
        return min(done[-1].walls_s) if done else None

    def largest_runs(self, work: Work) -> int:
        """Return the largest number of runs asked of anyone, 0 if this work was left out."""
        return max((figure.runs for figure in self.figures if figure.work == work), default=0)

    def peak_kib(self, contender: str, work: Work) -> int | None:
        """Return the peak memory of the contender's first process at the largest size, in KiB."""
        done = self._done(contender, work)
        return done[-1].peak_kib if done else None


def ratio(over: float | None, under: float | None) -> float | None:
    """Return ``over / under``; None where either is unknown, or ``under`` is not above zero.

    A difference of two times can come out at or below zero when it drowns in noise: such a
    figure is unknown, not infinite.
    """
    if over is None or under is None or under <= 0:
        return None
    return over / under


def difference(left: float | None, right: float | None) -> float | None:
    """Return ``left - right``; None where either is unknown."""
    return None if left is None or right is None else left - right
