"""What pytest is told of runs whose results others have left: they are not executed again."""

from __future__ import annotations

from typing import Any, cast

import pytest
from _pytest.skipping import evaluate_xfail_marks

from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.records import ExperimentResult


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
