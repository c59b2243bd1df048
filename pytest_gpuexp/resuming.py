"""What a session that resumes keeps of its runs, and reports without running them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from _pytest.skipping import evaluate_xfail_marks

from pytest_gpuexp.collection import ExperimentItem
from pytest_gpuexp.knowledge import Knowledge
from pytest_gpuexp.origins import Origins
from pytest_gpuexp.plan import Planned, make_plan
from pytest_gpuexp.plan_lines import resumption_lines
from pytest_gpuexp.records import ExperimentResult, RunSpec
from pytest_gpuexp.runs import stop_where_asked
from pytest_gpuexp.settings import Settings


class Resuming:
    """Plans the runs of one session, and reports those that are kept.

    ``plan`` is what becomes of each run; empty where the session does not resume. ``reporting``
    says whether kept runs are being reported.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        origins: Origins,
        knowledge: Knowledge,
    ) -> None:
        """Plan nothing yet."""
        self.plan: list[Planned] = []
        self.reporting = False
        self._settings = settings
        self._origins = origins
        self._knowledge = knowledge
        self._kept: set[str] = set()

    def make_plan(self, items: Sequence[ExperimentItem]) -> None:
        """Decide which of ``items`` are kept."""
        experiments: dict[str, list[RunSpec]] = {}
        fingerprints: dict[tuple[str, str], Mapping[str, str]] = {}
        for item in items:
            spec = item.spec
            experiments.setdefault(spec.experiment_id, []).append(spec)
            if (spec.experiment_id, spec.handler) not in fingerprints:
                fingerprint = self._origins.fingerprint(item)
                fingerprints[spec.experiment_id, spec.handler] = fingerprint
        self.plan = [
            planned
            for specs in experiments.values()
            for planned in make_plan(
                specs,
                replace(self._knowledge.review(specs), elsewhere=self._elsewhere(specs)),
                fingerprints,
                any_code=self._settings.any_code,
                rerun=self._settings.rerun,
            )
        ]
        for planned in self.plan:
            if planned.kept:
                self._kept.add(planned.spec.run_id)
                if planned.same_code:
                    self._knowledge.vouched.add(planned.spec.run_id)

    def _elsewhere(self, specs: Sequence[RunSpec]) -> dict[str, str]:
        if self._settings.backend != "modal":
            return {}
        intents = self._knowledge.intents(specs, backend="modal")
        return {
            run_id: intent.submitted_at[:16].replace("T", " ") for run_id, intent in intents.items()
        }

    @property
    def resumption(self) -> list[tuple[str, str]]:
        """The name of each run, and why it is kept or run."""
        return [(planned.spec.name, planned.reason) for planned in self.plan]

    @property
    def told(self) -> list[str]:
        """What people should know of the plan, a line each."""
        return resumption_lines(self.resumption)

    def runs(self, items: Iterable[ExperimentItem]) -> list[ExperimentItem]:
        """Return those of ``items`` that are not kept."""
        return [item for item in items if item.spec.run_id not in self._kept]

    def report_kept(self, session: pytest.Session, items: Iterable[ExperimentItem]) -> None:
        """Report those of ``items`` that are kept as pytest's own reports.

        Raises:
            pytest.Session.Failed: ``-x`` or ``--maxfail`` has its failures.
            pytest.Session.Interrupted: a plugin asked the session to stop.
        """
        self.reporting = True
        try:
            for item in items:
                if item.spec.run_id in self._kept:
                    result = self._knowledge.keep(item.spec)
                    for report in kept_reports(item, result):
                        item.ihook.pytest_runtest_logreport(report=report)
                    stop_where_asked(session)
        finally:
            self.reporting = False


def kept_reports(item: ExperimentItem, result: ExperimentResult) -> list[pytest.TestReport]:
    """Return what pytest is told of a run whose stored ``result`` stands.

    The last one is of the teardown, from which JUnit's file takes the metrics.
    """
    outcome, told, attributes = _outcome(item, result)
    call = _report(item, result, "call" if result.status == "completed" else "run")
    call.outcome, call.longrepr = outcome, told
    vars(call).update(attributes, gpuexp={"status": result.status, "verdict": result.verdict})
    return [call, _report(item, result, "teardown")]


def _report(item: ExperimentItem, result: ExperimentResult, when: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="passed",
        longrepr=None,
        when=cast(Any, when),
        duration=0.0,  # of this session
        user_properties=list(result.metrics.items()),
    )


def _outcome(item: ExperimentItem, result: ExperimentResult) -> tuple[Any, Any, dict[str, str]]:
    """Return outcome, explanation and further attributes of the report of ``result``."""
    xfail = evaluate_xfail_marks(item)
    if result.status == "completed" and result.verdict == "fail":
        if xfail is not None or result.expected_failure is not None:
            reason = xfail.reason if xfail is not None else result.expected_failure
            return "skipped", _explained(result), {"wasxfail": str(reason)}
        return "failed", _explained(result), {}
    if result.status != "completed":
        return "failed", _explained(result), {}
    if xfail is None:
        return "passed", None, {}
    if xfail.strict:
        return "failed", f"[XPASS(strict)] {xfail.reason}", {}
    return "passed", None, {"wasxfail": xfail.reason}


def _explained(result: ExperimentResult) -> str:
    told = result.error_message or ""
    if result.verdict != "fail":
        told = f"{result.error_type}: {told}"
    return f"{told}\nkept: attempt {result.attempt}, which ended {result.completed_at}"
