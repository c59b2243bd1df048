"""How fast this plugin means to be, and whether it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.contenders import LARGE
from bench.figures import Sheet, difference, ratio
from bench.task import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One promise: ``measure`` gives a number in ``unit``, to be at most or at least ``limit``.

    ``{large}`` in the claim stands for the number of runs at the largest size.
    """

    claim: str
    limit: float
    unit: str
    measure: Callable[[Sheet], float | None]
    at_least: bool = False

    def met(self, value: float | None) -> bool | None:
        """Return whether ``value`` keeps the promise; None where it is unknown."""
        if value is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit

    def named(self, sheet: Sheet) -> str:
        """Return the claim, with the number of runs that it was really tried on."""
        runs = sheet.largest_runs("large") or sheet.largest_runs("collect") or LARGE
        return self.claim.format(large=f"{runs:,}")

    def wanted(self) -> str:
        """Return the promise as it stands in the table, such as ``<= 3 ms``."""
        return f"{'>=' if self.at_least else '<='} {self.limit:g}{self.unit}"


def marginal(work: Work) -> Callable[[Sheet], float | None]:
    """Measure what one more isolated run costs us, in ms."""
    return lambda sheet: sheet.marginal_ms("ours", work)


def walls(work: Work, runs: int) -> Callable[[Sheet], float | None]:
    """Measure our time for so many runs over that of plain pytest in process."""
    return lambda sheet: ratio(sheet.wall_s("ours", work, runs), sheet.wall_s("plain", work, runs))


def largest(work: Work) -> Callable[[Sheet], float | None]:
    """Measure our time over plain pytest's, at the largest size."""
    return lambda sheet: ratio(
        sheet.largest_wall_s("ours", work), sheet.largest_wall_s("plain", work)
    )


def memory(work: Work) -> Callable[[Sheet], float | None]:
    """Measure our controller's peak memory over that of plain pytest, at the largest size."""
    return lambda sheet: ratio(sheet.peak_kib("ours", work), sheet.peak_kib("plain", work))


def less_than(peer: str) -> Callable[[Sheet], float | None]:
    """Measure how many times a peer's overhead on a no-op run is ours."""
    return lambda sheet: ratio(sheet.overhead_ms(peer, "noop"), sheet.overhead_ms("ours", "noop"))


def over_snapshot(sheet: Sheet) -> float | None:
    """Measure one more torch run of ours over one more of the bare snapshot loop."""
    return ratio(sheet.marginal_ms("ours", "torch"), sheet.marginal_ms("snapshot", "torch"))


def unused_ms(sheet: Sheet) -> float | None:
    """Measure what being installed adds to a session of ordinary tests, in ms."""
    seconds = difference(
        sheet.largest_wall_s("installed", "unused"), sheet.largest_wall_s("plain", "unused")
    )
    return None if seconds is None else 1000 * seconds


def unused_sdks(sheet: Sheet) -> float | None:
    """Count the SDKs that such a session has loaded."""
    looked = [f.sdks for f in sheet.of("installed", "unused") if f.sdks is not None]
    return float(max(map(len, looked))) if looked else None


TARGETS = (
    Target(claim="one more isolated no-op run", limit=3, unit=" ms", measure=marginal("noop")),
    Target(claim="one more isolated torch run", limit=7, unit=" ms", measure=marginal("torch")),
    Target(claim="the same over a bare snapshot loop", limit=2, unit="x", measure=over_snapshot),
    Target(claim="200 no-op runs over plain pytest", limit=2, unit="x", measure=walls("noop", 200)),
    Target(
        claim="20 torch runs over plain pytest", limit=1.1, unit="x", measure=walls("torch", 20)
    ),
    *(
        Target(
            claim=f"overhead a run, {title} over ours",
            limit=limit,
            unit="x",
            measure=less_than(peer),
            at_least=True,
        )
        for peer, title, limit in (
            ("hydra-basic", "Hydra basic", 30),
            ("hydra-joblib", "Hydra joblib", 30),
            ("submitit", "submitit", 80),
            ("ray", "Ray Tune", 300),
        )
    ),
    Target(
        claim="collecting {large}, time over plain", limit=1, unit="x", measure=largest("collect")
    ),
    Target(
        claim="collecting {large}, memory over plain", limit=1, unit="x", measure=memory("collect")
    ),
    Target(claim="{large} no-op runs over plain", limit=3, unit="x", measure=largest("large")),
    Target(
        claim="the same, memory of the controller", limit=1.5, unit="x", measure=memory("large")
    ),
    Target(claim="installed and unused", limit=10, unit=" ms", measure=unused_ms),
    Target(claim="SDKs loaded when unused", limit=0, unit="", measure=unused_sdks),
)
