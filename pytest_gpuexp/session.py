"""A session's experiments, from collection to the last judgement, in the controller."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp import concluding, documents, provenance, reporting, results
from pytest_gpuexp.collection import ExperimentItem, ExperimentModule, Kit
from pytest_gpuexp.conclusions import ExperimentReport
from pytest_gpuexp.configuring import read_overrides, read_settings
from pytest_gpuexp.dispatch import Dispatch
from pytest_gpuexp.errors import WorkerMayNotDispatch
from pytest_gpuexp.judging import RESULTS, CriterionItem, ThresholdItem
from pytest_gpuexp.ledger import Ledger
from pytest_gpuexp.moments import utc
from pytest_gpuexp.places import Places
from pytest_gpuexp.protocols import Backend, Display
from pytest_gpuexp.records import Attempt, ExperimentResult, Job, Outcome, RunSpec


class Controller:
    """The plugin that plans, dispatches, reports and judges the experiments of one session.

    With xdist one is in every worker, which dispatches its share, and one in the controller,
    which judges.
    """

    def __init__(
        self,
        config: pytest.Config,
        display: Display,
        *,
        key_metrics: dict[str, list[str]],
        taken: Sequence[str],
    ) -> None:
        """Read the options; nothing is started.

        ``key_metrics`` is filled with each experiment's required metrics, for the display.
        ``taken`` are short options that another plugin has.
        """
        self._config = config
        self._display = display
        self._key_metrics = key_metrics
        self._taken = taken
        self.settings = read_settings(config)
        self.kit = Kit(config, self.settings, read_overrides(config))
        self._places = Places(config, self.settings)
        self._git = provenance.GitQuery(self.settings.root)
        self._results: dict[str, ExperimentResult] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._counts: Counter[str] = Counter()
        self._reports: list[ExperimentReport] = []
        self._backend: Backend | None = None
        self._dispatching = False
        self._done = 0
        self._total = 0
        self.kit.on_module = self._announce
        config.pluginmanager.register(self.kit, "gpuexp-kit")

    @property
    def _in_xdist_worker(self) -> bool:
        return hasattr(self._config, "workerinput")

    def _announce(self, path: Path) -> None:
        """Let a backend of this machine import ``path`` while the session does."""
        if self._will_run:
            self._places.announce(path)

    @property
    def _will_run(self) -> bool:
        option = self._config.option
        return not (option.collectonly or self.settings.dry_run or self._places.judges_only)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse what cannot run before anything does, and leave judging to the controller."""
        if self.kit.filtered_out:
            self._tell_filtered()
        runs = [item for item in items if isinstance(item, ExperimentItem)]
        if runs:
            self._places.check(item.spec for item in runs)
        if self._in_xdist_worker:
            self._config.workeroutput["gpuexp_experiments"] = len(self.kit.modules)
            items[:] = [i for i in items if not isinstance(i, (CriterionItem, ThresholdItem))]

    def _tell_filtered(self) -> None:
        self._display.notice(f"--gpuexp-filter leaves out {self.kit.filtered_out} runs")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Show the plan, and let others know of it."""
        runs = [item.spec for item in session.items if isinstance(item, ExperimentItem)]
        if not runs or self._in_xdist_worker:
            return
        plan: dict[str, list[RunSpec]] = {}
        for spec in runs:
            plan.setdefault(spec.experiment_id, []).append(spec)
        for module in self._modules():
            required = list(module.experiment.success_criteria)
            self._key_metrics[module.experiment.experiment_id] = required
        facts = self._places.facts()
        if self._taken:
            facts["taken by others"] = " ".join(self._taken)
        self._display.plan_made(plan, facts=facts)
        if not self._config.option.collectonly:
            self._config.hook.pytest_gpuexp_plan_made(plan=plan)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Any:
        """Run ordinary tests as ever, then dispatch the experiments, then judge."""
        option = self._config.option
        if self._in_xdist_worker or option.collectonly:
            return (yield)
        everything = session.items
        mine = (ExperimentItem, CriterionItem, ThresholdItem)
        session.items = [item for item in everything if not isinstance(item, mine)]
        try:
            result = yield
        finally:
            session.items = everything
        if not self.settings.dry_run:
            self._run(session, [i for i in everything if isinstance(i, ExperimentItem)])
            self.judge(session, [i for i in everything if not isinstance(i, ExperimentItem)])
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Any:
        """Dispatch one run where another loop, xdist's worker, asks for it."""
        if not isinstance(item, ExperimentItem):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._run(item.session, [item])
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _run(self, session: pytest.Session, items: Sequence[ExperimentItem]) -> None:
        if not items:
            return
        if "PYTEST_GPUEXP_WORKER" in os.environ:
            raise WorkerMayNotDispatch(
                "this process is a worker of another pytest-gpuexp session and would start workers "
                "of its own. Run pytest on experiments outside of a handler."
            )
        self._total = len(items)
        by_run = {item.spec.run_id: item for item in items}
        backend = self._open_backend(items)
        dispatch = Dispatch(
            backend, parallelism=self._places.parallelism, on_submitted=self._submitted
        )
        self._dispatching = True
        with _terminable():
            try:
                for ended in dispatch.run(self._attempts(items)):
                    for attempt, outcome in ended:
                        self._finish(by_run[attempt.spec.run_id], outcome)
                    self._show_progress(by_run, backend)
                    _stop_where_asked(session)
            except BaseException:
                self._cancel(dispatch)
                raise
            finally:
                self._dispatching = False
                self._display.withdraw()

    def _open_backend(self, items: Sequence[ExperimentItem]) -> Backend:
        if self._backend is None:
            facts = provenance.describe(
                git=self._git.answer(),
                argv=sys.argv,
                modules=dict(sys.modules),
                devices=self.settings.gpus,
            )
            self._backend = self._places.open(documents.dump({"provenance": facts}))
        self._places.will_run(items)
        return self._backend

    def _attempts(self, items: Iterable[ExperimentItem]) -> Iterator[Attempt]:
        for item in items:
            ledger = self._ledger(item.spec.experiment_id)
            yield ledger.claim(
                item.spec,
                backend=self.settings.backend,
                handle=self._backend.handle if self._backend else "",
                submitted_at=utc(time.time()),
                stub=self.settings.stub,
                marks=[(mark.name, mark.args, mark.kwargs) for mark in item.added_marks()],
            )

    def _ledger(self, experiment_id: str) -> Ledger:
        if experiment_id not in self._ledgers:
            local = self.settings.backend in ("local", "in-process")
            self._ledgers[experiment_id] = Ledger(
                self._places.storage, experiment_id, durable=not local
            )
        return self._ledgers[experiment_id]

    def _submitted(self, attempt: Attempt, job: Job) -> None:
        if job.handle:
            self._ledger(attempt.spec.experiment_id).submitted(attempt, job)

    def _finish(self, item: ExperimentItem, outcome: Outcome) -> None:
        result = outcome.result
        self._done += 1
        self._counts[reporting.category(result)] += 1
        self._results[result.run_id] = result
        self._display.withdraw()
        if not self._places.reports_itself:
            reporting.emit(self._config, item, outcome)
        self._display.run_finished(outcome, done=self._done, total=self._total)
        self._config.hook.pytest_gpuexp_run_finished(outcome=outcome)

    def _show_progress(self, by_run: dict[str, ExperimentItem], backend: Backend) -> None:
        for notice in self._places.notices():
            self._display.notice(notice)
        running = {
            by_run[key.rpartition(".")[0]].name: age for key, age in backend.running().items()
        }
        self._display.progress(
            done=self._done, total=self._total, running=running, counts=self._counts
        )

    def _cancel(self, dispatch: Dispatch) -> None:
        ended = 0
        for attempt, outcome in dispatch.cancel():
            if outcome.result.started_at:
                ended += 1
                self._results[outcome.result.run_id] = outcome.result
            else:
                self._ledger(attempt.spec.experiment_id).withdraw(attempt)
        if ended:
            self._display.notice(f"{ended} running experiments were ended")

    def judge_alone(self, session: pytest.Session) -> None:
        """Collect here what the workers ran, and judge it from the storage (xdist's controller)."""
        items = session.perform_collect()
        session.items = list(items)
        self.judge(session, session.items)

    def judge(self, session: pytest.Session, items: Sequence[pytest.Item]) -> None:
        """Run the criteria among ``items`` over this session's results and the stored ones."""
        judges = [item for item in items if isinstance(item, (CriterionItem, ThresholdItem))]
        for module in self._modules():
            stored = None if self.settings.stub else self._known(module)
            module.stash[RESULTS] = stored
        for item, nextitem in zip(judges, [*judges[1:], None], strict=False):
            self._config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            _stop_where_asked(session)

    def _known(self, module: ExperimentModule) -> dict[str, ExperimentResult]:
        wanted = [spec.run_id for handler in module.handlers for spec in handler.specs]
        absent = [run_id for run_id in wanted if run_id not in self._results]
        stored = self._ledger(module.experiment.experiment_id).stored(absent) if absent else {}
        return {**stored, **{key: self._results[key] for key in wanted if key in self._results}}

    def _modules(self) -> list[ExperimentModule]:
        return [module for module in self.kit.modules.values() if module.handlers]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Take the verdict of a criterion off its report."""
        report = yield
        if isinstance(item, (CriterionItem, ThresholdItem)):
            item.note(item.name, report, call)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, Any] | None:
        """Count a crash as an error, and leave the words to the display where it shows lines."""
        status = reporting.status_of(report)
        told = getattr(report, "gpuexp", None) is not None
        if not (told and self._dispatching and self._display.shows_runs):
            return status
        return (reporting.plain_category(report, status), "", "")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write ``results.yaml``, and let no session pass that has evaluated nothing."""
        if self._backend is not None or self._places.started:
            self._places.close()
        if self._config.option.collectonly or self.settings.dry_run or self._in_xdist_worker:
            return
        judgements = []
        for module in self._modules():
            mine = [
                item.judgement
                for item in session.items
                if isinstance(item, (CriterionItem, ThresholdItem))
                and item.parent is module
                and item.judgement is not None
            ]
            judgements += mine
            criteria_only = [one for one in mine if one.name != "success_criteria"]
            self._conclude(module, criteria_only)
        nothing = not concluding.evaluations(self._results.values(), judgements)
        if self._results and nothing and not self.settings.stub and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self._display.notice(
                "nothing was evaluated: no assert of a handler, no @criterion and no "
                "success_criteria came to a verdict, so this session does not pass"
            )

    def _conclude(self, module: ExperimentModule, judgements: Sequence[Any]) -> None:
        known = self._known(module)
        if not known:
            return
        specs = [spec for handler in module.handlers for spec in handler.specs]
        report = concluding.conclude(
            module.experiment, specs, known, judgements, executed_by=provenance.executed_by()
        )
        results.write_results(self._places.storage, report)
        self._reports.append(report)
        self._config.hook.pytest_gpuexp_stage_finished(report=report)

    def pytest_terminal_summary(self) -> None:
        """Show the closing table."""
        where = {
            report.experiment.experiment_id: self._places.shown(
                results.results_name(report.experiment.experiment_id)
            )
            for report in self._reports
        }
        if self._reports:
            self._display.session_finished(self._reports, places=where)


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the runs in flight as Ctrl-C does, where nobody else listens to it."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt("SIGTERM")

    try:
        before = signal.getsignal(signal.SIGTERM)
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, before)


def _stop_where_asked(session: pytest.Session) -> None:
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
