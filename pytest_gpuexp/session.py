"""The plugin that leads the experiments of one session through pytest's hooks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp import choosing, reporting, results, retrying, staging
from pytest_gpuexp.claiming import Claiming
from pytest_gpuexp.closing import Closing
from pytest_gpuexp.collection import ExperimentModule, Kit
from pytest_gpuexp.configuring import read_options
from pytest_gpuexp.elsewhere import Elsewhere
from pytest_gpuexp.errors import WorkerMayNotDispatch
from pytest_gpuexp.forerunner import MARK
from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.judging import Judge
from pytest_gpuexp.knowledge import Knowledge
from pytest_gpuexp.origins import Origins
from pytest_gpuexp.places import Places
from pytest_gpuexp.presence import Presence, make_owner
from pytest_gpuexp.protocols import Display
from pytest_gpuexp.records import ExperimentResult, RunSpec
from pytest_gpuexp.resuming import Resuming
from pytest_gpuexp.runs import Runs
from pytest_gpuexp.storage.local import LocalStorage


class Controller:
    """The plugin that plans, dispatches, reports and judges.

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
        self._in_xdist_worker = hasattr(config, "workerinput")
        self.settings, overrides = read_options(config)
        self.order = staging.order_of(config, overrides)
        choice = choosing.read_choice(config)
        self.kit = Kit(config, self.settings, overrides, self.order, choice)
        self._places = places = Places(config, self.settings, show=display.notice)
        durable = self.settings.backend not in ("local", "in-process")
        resume = self.settings.resume
        # A bucket is asked once for the index, and ten thousand times where there is none.
        indexed = resume or not isinstance(places.storage, LocalStorage)
        self._knowledge = knowledge = Knowledge(places.storage, durable=durable, indexed=indexed)
        origins = Origins(config.rootpath)
        lease = self.settings.lease_seconds
        self._presence = presence = Presence(
            places.storage, owner=make_owner(), lease_seconds=lease
        )
        elsewhere = Elsewhere(
            presence, any_code=resume and self.settings.any_code, publish=places.publish
        )
        self._resuming = Resuming(
            self.settings, origins=origins, knowledge=knowledge, elsewhere=elsewhere
        )
        claiming = Claiming(
            self.settings,
            knowledge=knowledge,
            origins=origins,
            presence=presence,
            elsewhere=elsewhere,
        )
        self._runs = Runs(
            config,
            self.settings,
            places=places,
            knowledge=knowledge,
            display=display,
            origins=origins,
            claiming=claiming,
            elsewhere=elsewhere,
        )
        self._closing = Closing(
            config,
            places=places,
            knowledge=knowledge,
            display=display,
            stub=self.settings.stub,
            order=self.order,
            plan=self.kit.choice.plan,
        )
        self.kit.on_module = self._announce
        config.pluginmanager.register(self.kit, "gpuexp-kit")

    def ended(self) -> list[ExperimentResult]:
        """Return the results of the session's runs, and of those that it keeps."""
        return [*self._knowledge.kept.values(), *self._knowledge.results.values()]

    @property
    def _only_plans(self) -> bool:
        return bool(self._config.option.collectonly) or self.settings.dry_run

    @property
    def _leaves_judging(self) -> bool:
        return self.settings.dry_run or self.settings.detach

    @property
    def _modules(self) -> list[ExperimentModule]:
        return [module for module in self.kit.modules.values() if module.handlers]

    def _announce(self, path: Path) -> None:
        """Let a backend of this machine import ``path`` while the session does."""
        # One that resumes does not know yet whether anything is to be run; a worker's never runs.
        idle = self._only_plans or self._places.judges_only or MARK in os.environ
        if not (idle or self.settings.resume):
            self._places.announce(path)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse what cannot run before anything does, and leave judging to the controller."""
        if self.kit.filtered_out:
            self._display.notice(f"--gpuexp-filter leaves out {self.kit.filtered_out} runs")
        runs = [item for item in items if isinstance(item, ExperimentItem)]
        if runs:
            self._places.check(
                spec for item in runs for spec in retrying.machines(item.spec, item.handler.retries)
            )
        if self._in_xdist_worker:
            self._output["gpuexp_experiments"] = len(self.kit.modules)
            items[:] = [item for item in items if not isinstance(item, Judge)]
            # Before xdist hears what was collected, and lets workers that have planned begin: their
            # claims would pass for those of another session.
            self._plan(runs)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Show the plan, and let others know of it."""
        items = [item for item in session.items if isinstance(item, ExperimentItem)]
        if not items or self._places.judges_only:
            return  # xdist's controller collects when all has run already
        if self._in_xdist_worker:
            self._output["gpuexp_resumption"] = self._resuming.told
        else:
            self._plan(items)
            self._show(_by_experiment(items))
            unmet = self._closing.unmet(item.spec.experiment_id for item in items)
            for notice in [*self._places.notices(), *unmet]:
                self._display.notice(notice)
        left = self._resuming.runs(items)
        if not self._config.option.collectonly:
            self._config.hook.pytest_gpuexp_plan_made(plan=_by_experiment(left))
        if self.settings.resume and not self._only_plans:
            for path in dict.fromkeys(item.path for item in left):
                self._places.announce(path)

    def _plan(self, items: Sequence[ExperimentItem]) -> None:
        """Decide which of ``items`` are kept, where the session resumes."""
        if self.settings.resume and items and not self._places.judges_only:
            self._resuming.make_plan(items)

    @property
    def _output(self) -> dict[str, Any]:
        """What xdist's controller learns of this worker when it ends."""
        output: dict[str, Any] = getattr(self._config, "workeroutput")  # noqa: B009
        return output

    def _show(self, plan: Mapping[str, Sequence[RunSpec]]) -> None:
        for module in self._modules:
            required = list(module.experiment.success_criteria)
            self._key_metrics[module.experiment.experiment_id] = required
        facts = self._places.facts()
        if self.order is not None and self.order.stage:
            facts = {"stage": f"{self.order.stage}: {self.order.sizes}", **facts}
        if self._taken:
            facts["taken by others"] = " ".join(self._taken)
        self._display.plan_made(plan, facts=facts, resumption=self._resuming.resumption)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Any:
        """Run ordinary tests as ever, then dispatch the experiments, then judge."""
        if self._in_xdist_worker or self._config.option.collectonly:
            return (yield)
        everything = session.items
        mine = (ExperimentItem, Judge)
        session.items = [item for item in everything if not isinstance(item, mine)]
        try:
            result = yield
        finally:
            session.items = everything
        if not self.settings.dry_run:
            self._run(session, [i for i in everything if isinstance(i, ExperimentItem)])
        if not self._leaves_judging:
            self._closing.judge(session, self._modules)
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
        if MARK in os.environ:
            raise WorkerMayNotDispatch(
                "this process is a worker of another pytest-gpuexp session and would start workers "
                "of its own. Run pytest on experiments outside of a handler."
            )
        left = self._resuming.runs(items)
        if left:
            self._runs.carry_out(session, left)
        self._resuming.report_kept(session, items)  # last, or -x would stop at what failed before

    def judge_alone(self, session: pytest.Session, *, resumption: Sequence[str]) -> None:
        """Judge from the storage what the workers ran (xdist's controller).

        ``resumption`` is what the workers have to tell of what they kept.
        """
        self.collect_alone(session, resumption=resumption)
        self._closing.judge(session, self._modules)

    def collect_alone(self, session: pytest.Session, *, resumption: Sequence[str]) -> None:
        """Collect here what the workers ran, so that it can be told (xdist's controller)."""
        if self._config.pluginmanager.hasplugin("terminalreporter"):
            writer = self._config.get_terminal_writer()
            if writer.width_of_current_line:
                writer.line()  # the letters of the runs are on it
        for text in resumption:
            self._display.notice(text.removeprefix("resume: ").strip())
        option = self._config.option
        verbose, option.verbose = (
            option.verbose,
            -1,
        )  # or pytest says a second time what it collects
        try:
            session.items = list(session.perform_collect())
        finally:
            option.verbose = verbose

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Take the verdict of a criterion off its report."""
        report = yield
        if isinstance(item, Judge):
            item.note(report, call)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, Any] | None:
        """Count a crash as an error, and leave the words to the display where it shows lines."""
        status = reporting.status_of(report)
        told = getattr(report, "gpuexp", None) is not None
        on_its_way = self._runs.dispatching or self._resuming.reporting
        if not (told and on_its_way and self._display.shows_runs):
            return status
        return (reporting.plain_category(report, status), "", "")

    @pytest.hookimpl(trylast=True)  # after xdist's, which waits for the workers and their records
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write ``results.yaml``, and let no session pass that has evaluated nothing."""
        if self._places.started:
            self._places.close()
        self._presence.end()
        if not self._leaves_judging and not self._only_plans and not self._in_xdist_worker:
            self._closing.conclude(session, self._modules)
            self._closing.settle(session)
            self._closing.index()

    def pytest_terminal_summary(self) -> None:
        """Show the closing table."""
        names = [report.experiment.experiment_id for report in self._closing.reports]
        if names:
            stage = self.order.stage if self.order else ""
            places = {n: self._places.shown(results.results_name(n, stage)) for n in names}
            self._display.session_finished(self._closing.reports, places=places)


def _by_experiment(items: Sequence[ExperimentItem]) -> dict[str, list[RunSpec]]:
    plan: dict[str, list[RunSpec]] = {}
    for item in items:
        plan.setdefault(item.spec.experiment_id, []).append(item.spec)
    return plan
