"""What every backend of this machine does: the same results and reports, whoever executes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.behaviour.sessions import Ended, run

EXPERIMENT = '''
"""Runs that end in every way that is no crash of the process."""
import logging, sys
import pytest
from pytest_gpuexp import at_least, criterion, experiment, grid, seeds

pytestmark = experiment(
    "contract", claim="Backends agree.", success_criteria={"score": at_least(0.5)}
)

@pytest.fixture
def ready(tmp_path, seed, request):
    (tmp_path / "ready").write_text(str(seed))
    yield tmp_path
    print("torn down")

@seeds(2)
@grid(**{"model.width": [8, 16]})
def exp_passes(runner, seed, ready):
    assert (ready / "ready").read_text() == str(seed)
    width = runner.config["model"]["width"]
    for step in range(3):
        runner.log_metrics({"loss": 1.0 / (step + width)}, step=step)
    return {
        "finding": f"width {width}\\nin two lines: größe",
        "metrics": {"score": 0.5 + seed},
        "artifacts": [runner.results.save_artifact("a.txt", "x" * width)],
    }

def exp_is_refuted(runner):
    runner.log_metrics({"score": 0.1})
    score = runner.metrics["score"]
    assert score < 0.2, "small"
    assert score > 0.2, "too small"

def exp_crashes(runner):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    logging.getLogger("fit").warning("to the log")
    raise ValueError("no")

def exp_is_skipped(runner):
    pytest.skip("no data")

@pytest.mark.xfail(reason="known to be hard")
def exp_is_expected_to_fail(runner):
    runner.log_metrics({"score": 0.2})
    assert runner.metrics["score"] > 0.9

def exp_returns_nonsense(runner):
    runner.log_metrics({"kept": 1.0})
    return {"score": 1.0, "metrics": {"also_kept": 2.0, "no": [1, 2]}}

def exp_is_not_finite(runner):
    runner.log_metrics({"score": float("nan"), "up": float("inf")})

@pytest.fixture
def broken():
    raise OSError("no such data set")

def exp_has_a_broken_fixture(runner, broken):
    pass

@pytest.fixture
def untidy():
    yield
    raise RuntimeError("left open")

def exp_is_not_torn_down(runner, untidy):
    assert True

@criterion(exp_passes, over="seed")
def crit_stable(replicates):
    assert replicates["score"].std() < 0.6
'''
WAYS = [["--backend=local"], ["--backend=in-process"], ["--gpuexp-isolation=spawn"]]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way[0].removeprefix("--"))
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("contract")
    (folder / "exp_contract.py").write_text(EXPERIMENT)
    return run(folder, "exp_contract.py", "--parallelism=2", *request.param)


def ending(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["status"], record["verdict"], record.get("error_type")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exp_passes[model.width:8-seed:0]", ("completed", "pass", None)),
        ("exp_is_refuted", ("completed", "fail", "AssertionError")),
        ("exp_crashes", ("failed", "not_evaluated", "ValueError")),
        ("exp_is_skipped", ("skipped", "not_evaluated", "Skipped")),
        ("exp_is_expected_to_fail", ("completed", "fail", "AssertionError")),
        ("exp_returns_nonsense", ("failed", "not_evaluated", "HandlerReturnInvalid")),
        ("exp_is_not_finite", ("completed", "not_evaluated", None)),
        ("exp_has_a_broken_fixture", ("failed", "not_evaluated", "OSError")),
        ("exp_is_not_torn_down", ("failed", "not_evaluated", "RuntimeError")),
    ],
)
def test_status_and_verdict_are_told_apart(
    ended: Ended, name: str, expected: tuple[Any, ...]
) -> None:
    assert ending(ended.record(name)) == expected


def test_a_record_holds_what_the_run_was_and_gave(ended: Ended) -> None:
    record = ended.record("exp_passes[model.width:16-seed:1]")

    assert record["config"] == {"model": {"width": 16}, "seed": 1}
    assert record["parameters"] == {"model.width": 16}
    assert record["metrics"] == {"loss": 1.0 / 18, "score": 1.5}
    assert record["finding"] == "width 16\nin two lines: größe"
    assert [(one["name"], one["bytes"]) for one in record["artifacts"]] == [("a.txt", 16)]
    assert (record["attempt"], record["device"], record["published"]) == (1, "cpu", True)
    assert record["started_at"] <= record["completed_at"]
    assert record["provenance"]["packages"]["pytest"]


def test_each_assertion_is_recorded_with_its_values(ended: Ended) -> None:
    met, failed = ended.record("exp_is_refuted")["assertions"]

    assert met["source"].startswith("score < 0.2")
    assert (met["met"], met["count"], met["first"]) == (True, 1, "0.1 < 0.2")
    assert failed["met"] is False
    assert "0.1 > 0.2" in failed["last"]


def test_a_series_has_one_line_a_point(ended: Ended) -> None:
    path = ended.run_folder("exp_passes[model.width:8-seed:0]") / "metrics.jsonl"

    points = [json.loads(line) for line in path.read_text().splitlines()]

    assert [point["step"] for point in points] == [0, 1, 2]
    assert [point["metrics"] for point in points] == [{"loss": 1.0 / (n + 8)} for n in range(3)]


def test_what_was_valid_of_a_wrong_return_is_kept(ended: Ended) -> None:
    record = ended.record("exp_returns_nonsense")

    assert record["metrics"] == {"kept": 1.0, "also_kept": 2.0}
    assert "unknown key 'score'" in record["error_message"]
    assert "metric 'no' is a list; a metric is one number" in record["error_message"]


def test_values_that_are_not_finite_are_kept_and_flagged(ended: Ended) -> None:
    record = ended.record("exp_is_not_finite")

    assert math.isnan(record["metrics"]["score"])
    assert sorted(record["non_finite"]) == ["score", "up"]


def test_an_expected_failure_is_told_with_its_reason(ended: Ended) -> None:
    assert ended.record("exp_is_expected_to_fail")["expected_failure"] == "known to be hard"
    assert "XFAIL exp_contract.py::exp_is_expected_to_fail" in ended.text


def test_pytest_reports_each_run_once(ended: Ended) -> None:
    for word, name in (
        ("PASSED", "exp_passes[model.width:8-seed:0]"),
        ("FAILED", "exp_is_refuted"),
        ("ERROR", "exp_crashes"),
        ("ERROR", "exp_returns_nonsense"),
        ("ERROR", "exp_has_a_broken_fixture"),
        ("ERROR", "exp_is_not_torn_down"),
    ):
        summary = ended.text.partition("short test summary info")[2]
        assert summary.count(f"{word} exp_contract.py::{name}") == 1, summary
    assert "SKIPPED [1] " in ended.text
    assert ended.code == 1


def test_a_failure_is_explained_with_its_source_and_output(ended: Ended) -> None:
    assert '>       assert score > 0.2, "too small"' in ended.text
    assert "E       AssertionError: too small" in ended.text
    assert "to stdout" in ended.text
    assert "to stderr" in ended.text
    assert "to the log" in ended.text


def test_criteria_are_judged_from_the_records(ended: Ended) -> None:
    assert "crit_stable" in ended.text
    report = (ended.folder / "results" / "contract" / "results.yaml").read_text()
    assert "success_criteria_met: true" in report
    assert "score_achieved" in report
