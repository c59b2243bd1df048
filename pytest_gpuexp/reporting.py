"""The end of a run as reports of pytest's own, in the controller."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, cast

import pytest

from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.records import ExperimentResult, Outcome, Plain
from pytest_gpuexp.warned import warning_from_plain


def emit(config: pytest.Config, item: ExperimentItem, outcome: Outcome) -> None:
    """Report ``outcome`` and its warnings by pytest's hooks, as if the run had happened here."""
    for report in _reports(config, item, outcome):
        item.ihook.pytest_runtest_logreport(report=report)
        for plain in getattr(report, "gpuexp_warned", ()):
            told = {
                "warning_message": warning_from_plain(plain),
                "when": "runtest",
                "nodeid": item.nodeid,
                "location": None,
            }
            item.ihook.pytest_warning_recorded.call_historic(kwargs=told)


def _reports(
    config: pytest.Config, item: ExperimentItem, outcome: Outcome
) -> list[pytest.TestReport]:
    if not outcome.reports:
        return [_without_worker(item, outcome)]
    reports: list[pytest.TestReport] = [
        config.hook.pytest_report_from_serializable(config=config, data=dict(data))
        for data in outcome.reports
    ]
    for report in reports:
        _share(report, item)
        if isinstance(report.longrepr, list):  # JSON has no tuples, and pytest insists on one
            report.longrepr = cast(tuple[str, int, str], tuple(report.longrepr))
        if report.failed and outcome.log_tail:
            report.sections.append(("Captured output", outcome.log_tail))
    return reports


def _share(report: pytest.TestReport, item: ExperimentItem) -> None:
    """Let ``report``, which pytest keeps to the end, hold what ``item`` holds, no copies."""
    report.keywords = {sys.intern(name): value for name, value in report.keywords.items()}
    if tuple(report.location) == item.location:
        report.location = item.location
    report.user_properties = [
        (sys.intern(name) if type(name) is str else name, value)
        for name, value in report.user_properties
    ]


def _without_worker(item: ExperimentItem, outcome: Outcome) -> pytest.TestReport:
    result = outcome.result
    passed = result.status == "completed" and result.verdict != "fail"
    told = f"{result.status}: {result.error_type}: {result.error_message}"
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="passed" if passed else "failed",
        longrepr=None if passed else told,
        when="call" if result.status == "completed" else cast(Any, "run"),
        sections=[("Captured output", outcome.log_tail)] if outcome.log_tail else [],
        duration=result.duration_seconds,
        user_properties=list(result.metrics.items()),
        gpuexp={"status": result.status, "verdict": result.verdict},
    )


def status_of(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Return pytest's category, letter and word for the report of a run; None for all others.

    A crash is an error and a verdict a failure; neither is ever counted as the other.
    """
    told: Mapping[str, Plain] | None = getattr(report, "gpuexp", None)
    if told is None:
        return None
    if report.failed and told["verdict"] != "fail" and not _strict_xpass(report):
        return "error", "E", "ERROR"
    return None


def _strict_xpass(report: pytest.TestReport) -> bool:
    return isinstance(report.longrepr, str) and report.longrepr.startswith("[XPASS(strict)]")


def category(result: ExperimentResult) -> str:
    """Return the word under which a run is counted while others still execute."""
    if result.status != "completed":
        return result.status
    if result.verdict == "fail":
        return "expected failures" if result.expected_failure is not None else "failed"
    return "passed"


def plain_category(report: pytest.TestReport, status: tuple[str, str, str] | None) -> str:
    """Return the category under which pytest counts ``report``, also where it writes nothing."""
    if status is not None:
        return status[0]
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.when == "setup" and report.failed:
        return "error"
    if report.when != "call" and report.passed:
        return ""
    return "skipped" if report.skipped else report.outcome
