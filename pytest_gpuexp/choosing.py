"""Which experiments and sub-experiments a session is about, by their ids and by a registry."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytest_gpuexp import registry
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import Experiment, RunSpec
from pytest_gpuexp.registry import Planned

NO_HANDLER = "no handler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The ids that were asked for, () for all; ``plan`` is the registry's, {} without one."""

    experiments: Sequence[str] = ()
    sub_experiments: Sequence[str] = ()
    plan: Mapping[str, Planned] = field(default_factory=dict)

    def takes(self, experiment_id: str) -> bool:
        """Return whether the session is about this experiment."""
        asked = not self.experiments or experiment_id in self.experiments
        return asked and (not self.plan or experiment_id in self.plan)

    def selects(self, spec: RunSpec) -> bool:
        """Return whether a run is of a sub-experiment that is asked for, and planned."""
        planned = self.plan.get(spec.experiment_id)
        wanted = planned.sub_experiments if planned else {}
        return all(not ids or spec.handler in ids for ids in (wanted, self.sub_experiments))

    def informed(self, experiment: Experiment) -> Experiment:
        """Return ``experiment`` with the thresholds that the registry has for it."""
        planned = self.plan.get(experiment.experiment_id)
        if planned is None or not planned.success_criteria:
            return experiment
        return dataclasses.replace(experiment, success_criteria=planned.success_criteria)

    def missing(self, handlers: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
        """Return experiment and sub-experiment of all that is planned and has no handler.

        ``handlers`` are the ids of those that were collected, by experiment.
        """
        return [
            (identity, sub)
            for identity, planned in self.plan.items()
            if self.takes(identity)
            for sub in planned.sub_experiments or (() if identity in handlers else ("",))
            if sub not in handlers.get(identity, ())
            if not self.sub_experiments or sub in self.sub_experiments
        ]

    def problems(self, handlers: Mapping[str, Iterable[str]]) -> list[str]:
        """Return a problem for each id that was asked for and is neither there nor planned."""
        known = {*handlers, *self.plan}
        subs = {sub for found in handlers.values() for sub in found}
        subs |= {sub for planned in self.plan.values() for sub in planned.sub_experiments}
        return [
            f"--experiment-id {one}: there is no such experiment ({', '.join(sorted(known))})"
            for one in self.experiments
            if one not in known
        ] + [
            f"--sub-experiment {one}: there is no such handler ({', '.join(sorted(subs))})"
            for one in self.sub_experiments
            if one not in subs
        ]


class MissingItem(pytest.Item):
    """A sub-experiment of the registry that no module has: it is skipped, and so not forgotten."""

    def runtest(self) -> None:
        """Skip."""
        pytest.skip(f"{NO_HANDLER}: {self.name}")

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return the registry's place: there is no other."""
        return self.path, None, self.name


def missing_items(
    session: pytest.Session, choice: Choice, handlers: Mapping[str, Iterable[str]]
) -> list[pytest.Item]:
    """Return an item for all that is planned and has none of ``handlers``, the collected ones.

    Raises:
        pytest.UsageError: ids were asked for that are nowhere.
    """
    if problems := choice.problems(handlers) if handlers else []:
        raise pytest.UsageError(str(UsageProblems("experiments", problems)))
    missing = choice.missing(handlers) if handlers else []
    return [
        MissingItem.from_parent(session, name=f"{identity}::{sub}" if sub else identity)
        for identity, sub in missing
    ]


def read_choice(config: pytest.Config) -> Choice:
    """Return what the command line chooses.

    Raises:
        UsageProblems: the registry makes no sense.
        StorageError: it cannot be read.
    """
    option = config.option
    plan: Mapping[str, Planned] = {}
    if option.gpuexp_registry:
        plan = registry.read_registry(Path(config.invocation_params.dir) / option.gpuexp_registry)
        if unknown := [one for one in option.gpuexp_experiment_id if one not in plan]:
            told = [f"{one} is not in the registry ({', '.join(plan)})" for one in unknown]
            raise UsageProblems("--experiment-id", told)
    return Choice(
        experiments=tuple(option.gpuexp_experiment_id),
        sub_experiments=tuple(option.gpuexp_sub_experiment),
        plan=plan,
    )
