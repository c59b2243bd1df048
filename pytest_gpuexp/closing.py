"""What becomes of a session once its runs have ended: its judgements, reports and exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest

from pytest_gpuexp import concluding, provenance, registry, results
from pytest_gpuexp.collection import ExperimentModule
from pytest_gpuexp.conclusions import ExperimentReport, Judgement
from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.halting import stop_where_asked
from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.judging import RESULTS, Judge, Unreadable
from pytest_gpuexp.knowledge import Knowledge
from pytest_gpuexp.orders import Order
from pytest_gpuexp.places import Places
from pytest_gpuexp.protocols import Display
from pytest_gpuexp.records import ExperimentResult, RunSpec
from pytest_gpuexp.registry import Planned, Standing


class Closing:
    """Judges, concludes, and says why a session does not pass.

    ``reports`` are those of the experiments concluded so far.
    """

    def __init__(
        self,
        config: pytest.Config,
        *,
        places: Places,
        knowledge: Knowledge,
        display: Display,
        stub: bool,
        order: Order | None = None,
        plan: Mapping[str, Planned],
    ) -> None:
        """Judge by ``knowledge``; reports go to the storage of ``places``.

        A ``stub`` session judges nothing. An ``order`` without a stage leaves no report. ``plan``
        is the registry's, where there is one.
        """
        self._order = order
        self._plan = plan
        self.reports: list[ExperimentReport] = []
        self._config = config
        self._places = places
        self._knowledge = knowledge
        self._display = display
        self._stub = stub
        self._unreadable: list[str] = []
        self._standings: dict[str, Standing] = {}  # of what others wait for

    def judge(self, session: pytest.Session, modules: Iterable[ExperimentModule]) -> None:
        """Run the criteria among the items of ``session``, over its results and stored ones."""
        judges = [item for item in session.items if isinstance(item, Judge)]
        judged = {item.parent for item in judges}
        for module in modules:
            if module in judged and not self._stub:
                try:
                    module.stash[RESULTS] = self._knowledge.known(_specs(module))
                except StorageError as error:  # unreadable, or out of reach
                    module.stash[RESULTS] = Unreadable(str(error))
        for item, nextitem in zip(judges, [*judges[1:], None], strict=False):
            self._config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            stop_where_asked(session)

    def conclude(self, session: pytest.Session, modules: Iterable[ExperimentModule]) -> None:
        """Write ``results.yaml`` of each of ``modules`` that has results."""
        self._standings.clear()  # they are of before the first run
        order = registry.in_order(self._plan)  # what others wait for comes first
        told = sorted(modules, key=lambda one: order.get(one.experiment.experiment_id, 0))
        for module in () if self._places.refused else told:
            judgements = [
                one for one in _judgements(session, module) if one.name != "success_criteria"
            ]
            try:
                self._conclude(module, judgements)
            except StorageError as error:  # a record that cannot be read, or a disk that is full
                self._unreadable.append(str(error))

    def _conclude(self, module: ExperimentModule, judgements: Sequence[Judgement]) -> None:
        specs = _specs(module)
        known = self._knowledge.known(specs)
        if not known:
            return
        report = concluding.conclude(
            module.experiment,
            specs,
            known,
            judgements,
            executed_by=provenance.executed_by(),
            ran_now={*self._knowledge.results, *self._knowledge.vouched},
            notes=self.unmet([module.experiment.experiment_id]),
        )
        if self._order is not None and not self._order.stage:
            return
        stage = self._order.stage if self._order else ""
        name = results.write_results(self._places.storage, report, stage=stage)
        self._places.leave_copy(name)
        self.reports.append(report)
        self._config.hook.pytest_gpuexp_stage_finished(report=report)

    def unmet(self, wanted: Iterable[str]) -> list[str]:
        """Return what the ``wanted`` experiments wait for, by the registry."""
        names = [name for name in dict.fromkeys(wanted) if name in self._plan]
        others = {other for name in names for other in self._plan[name].dependencies}
        unread = {other: self._plan[other] for other in others if other not in self._standings}
        self._standings |= registry.standings(unread, self._places.storage)
        return registry.unmet(self._plan, self._standings, names)

    def settle(self, session: pytest.Session) -> None:
        """Let ``session`` end with an exit code that says whether it evaluated anything."""
        reasons = [f"{told} results.yaml stays as it was." for told in self._unreadable]
        mine = [item for item in session.items if isinstance(item, (ExperimentItem, Judge))]
        if mine and not self._stub and not reasons and not self._evaluations(session, mine):
            reasons.append(
                "nothing was evaluated: no assert of a handler, no @criterion and no "
                "success_criteria came to a verdict, so this session does not pass"
            )
        for reason in reasons:
            self._display.notice(reason)
        if (reasons or not self._knowledge.all_published) and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def index(self) -> None:
        """Let the next session find quickly what this one knows."""
        self._knowledge.save()

    def _evaluations(self, session: pytest.Session, mine: Sequence[pytest.Item]) -> int:
        ended = [*self._knowledge.results.values(), *self._knowledge.kept.values()]
        if self._places.judges_only:  # the workers ran them just now, and stored their records
            ended = self._stored([item.spec for item in mine if isinstance(item, ExperimentItem)])
        return concluding.evaluations(ended, _judgements(session))

    def _stored(self, specs: Iterable[RunSpec]) -> list[ExperimentResult]:
        experiments: dict[str, list[RunSpec]] = {}
        for spec in specs:
            experiments.setdefault(spec.experiment_id, []).append(spec)
        known = map(self._knowledge.known, experiments.values())
        return [result for one in known for result in one.values()]


def _specs(module: ExperimentModule) -> list[RunSpec]:
    return [spec for handler in module.handlers for spec in handler.specs]


def _judgements(session: pytest.Session, module: ExperimentModule | None = None) -> list[Judgement]:
    return [
        item.judgement
        for item in session.items
        if isinstance(item, Judge)
        and item.judgement is not None
        and (module is None or item.parent is module)
    ]
