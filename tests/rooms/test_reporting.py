"""The end of a run as reports of pytest's own, in the controller."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_gpuexp import reporting
from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.records import ExperimentResult, Outcome
from tests.rooms.attempts import a_result


def a_report(**changes: Any) -> pytest.TestReport:
    told: dict[str, Any] = {
        "nodeid": "exp_e.py::exp_one",
        "location": ("exp_e.py", 0, "exp_one"),
        "keywords": {},
        "outcome": "passed",
        "longrepr": None,
        "when": "call",
    }
    return pytest.TestReport(**{**told, **changes})


def of_run(status: str, verdict: str, **changes: Any) -> pytest.TestReport:
    return a_report(gpuexp={"status": status, "verdict": verdict}, **changes)


def test_reports_of_ordinary_tests_are_left_to_pytest() -> None:
    assert reporting.status_of(a_report(outcome="failed")) is None


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (of_run("completed", "pass"), None),
        (of_run("completed", "fail", outcome="failed"), None),
        (of_run("failed", "not_evaluated", outcome="failed"), ("error", "E", "ERROR")),
        (of_run("timeout", "not_evaluated", outcome="failed"), ("error", "E", "ERROR")),
        (of_run("completed", "pass", outcome="failed", longrepr="[XPASS(strict)] timid"), None),
    ],
)
def test_a_crash_is_an_error_and_a_verdict_is_none(
    report: pytest.TestReport, status: tuple[str, str, str] | None
) -> None:
    assert reporting.status_of(report) == status


@pytest.mark.parametrize(
    ("report", "category"),
    [
        (a_report(), "passed"),
        (a_report(outcome="failed"), "failed"),
        (a_report(outcome="skipped"), "skipped"),
        (a_report(outcome="skipped", wasxfail="bold"), "xfailed"),
        (a_report(wasxfail="timid"), "xpassed"),
        (a_report(when="setup"), ""),
        (a_report(when="teardown"), ""),
        (a_report(when="setup", outcome="failed"), "error"),
        (a_report(when="setup", outcome="skipped"), "skipped"),
    ],
)
def test_categories_are_those_that_pytest_counts(report: pytest.TestReport, category: str) -> None:
    assert reporting.plain_category(report, reporting.status_of(report)) == category


@pytest.mark.parametrize(
    ("changes", "category"),
    [
        ({"status": "completed", "verdict": "pass"}, "passed"),
        ({"status": "completed"}, "passed"),
        ({"status": "completed", "verdict": "fail"}, "failed"),
        (
            {"status": "completed", "verdict": "fail", "expected_failure": "bold"},
            "expected failures",
        ),
        ({"status": "timeout"}, "timeout"),
        ({"status": "oom"}, "oom"),
    ],
)
def test_runs_are_counted_by_verdict_where_they_completed_else_by_status(
    tmp_path: Path, changes: dict[str, Any], category: str
) -> None:
    result: ExperimentResult = dataclasses.replace(a_result(tmp_path), **changes)

    assert reporting.category(result) == category


class Hooks:
    """Takes down what is reported, as pytest's hooks would pass it on."""

    def __init__(self) -> None:
        self.reports: list[pytest.TestReport] = []
        self.warnings: list[dict[str, Any]] = []
        self.pytest_warning_recorded = self

    def pytest_runtest_logreport(self, *, report: pytest.TestReport) -> None:
        self.reports.append(report)

    def call_historic(self, *, kwargs: dict[str, Any]) -> None:
        self.warnings.append(kwargs)


def emitted(config: pytest.Config, outcome: Outcome) -> Hooks:
    hooks = Hooks()
    item = SimpleNamespace(
        nodeid="exp_e.py::exp_one",
        location=("exp_e.py", 0, "exp_one"),
        keywords={"exp_one": 1},
        ihook=hooks,
    )
    reporting.emit(config, cast(ExperimentItem, item), outcome)
    return hooks


def test_a_run_whose_worker_died_is_reported_with_what_is_known(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    outcome = Outcome(result=a_result(tmp_path), log_tail="last words")

    (report,) = emitted(pytestconfig, outcome).reports

    assert (report.outcome, report.when) == ("failed", "run")
    assert report.longrepr == "failed: SIGSEGV: killed"
    assert report.sections == [("Captured output", "last words")]
    assert report.duration == 2.5
    assert reporting.status_of(report) == ("error", "E", "ERROR")


def test_reports_of_a_worker_arrive_with_log_and_warnings(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    def serialised(report: pytest.TestReport, **more: Any) -> dict[str, Any]:
        data = pytestconfig.hook.pytest_report_to_serializable(config=pytestconfig, report=report)
        return {**data, **more}

    told = {"category": "UserWarning", "message": "brittle", "filename": "exp_e.py", "lineno": 7}
    first = serialised(a_report(when="setup"))
    second = serialised(
        of_run("completed", "fail", outcome="failed", longrepr="assert 1 == 2"),
        gpuexp_warned=[told],
    )
    outcome = Outcome(result=a_result(tmp_path), reports=[first, second], log_tail="said")

    hooks = emitted(pytestconfig, outcome)

    assert [report.when for report in hooks.reports] == ["setup", "call"]
    assert hooks.reports[0].sections == []
    assert hooks.reports[1].sections == [("Captured output", "said")]
    (warned,) = hooks.warnings
    assert warned["nodeid"] == "exp_e.py::exp_one"
    assert str(warned["warning_message"].message) == "brittle"
