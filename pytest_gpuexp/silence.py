"""The display of a process that nobody watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pytest_gpuexp.conclusions import ExperimentReport
from pytest_gpuexp.records import Outcome, RunSpec


class Silent:
    """The display of a process that has no terminal: a worker, or ``-p no:terminal``."""

    def plan_made(
        self,
        plan: Mapping[str, Sequence[RunSpec]],
        *,
        facts: Mapping[str, str],
        resumption: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Show nothing."""

    @property
    def shows_runs(self) -> bool:
        """Whether each run gets a line of its own: nothing is shown here."""
        return False

    def notice(self, text: str) -> None:
        """Show nothing."""

    def progress(
        self,
        *,
        done: int,
        total: int,
        running: Mapping[str, float],
        counts: Mapping[str, int],
        said: Callable[[str], str],
    ) -> None:
        """Show nothing."""

    def run_finished(self, outcome: Outcome, *, done: int, total: int) -> None:
        """Show nothing."""

    def withdraw(self) -> None:
        """Do nothing; there is nothing to take away."""

    def session_finished(
        self, reports: Sequence[ExperimentReport], *, places: Mapping[str, str]
    ) -> None:
        """Show nothing."""
