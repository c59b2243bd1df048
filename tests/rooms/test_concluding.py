"""What a session's results amount to, experiment by experiment."""

from __future__ import annotations

import pytest

from pytest_gpuexp.concluding import conclude, evaluations
from pytest_gpuexp.conclusions import Judgement
from pytest_gpuexp.criteria import at_least
from pytest_gpuexp.records import Experiment, ExperimentResult, RunSpec, Status, Verdict

EXPERIMENT = Experiment(experiment_id="e", success_criteria={"acc": at_least(0.5)}, path="exp_e.py")


def spec(seed: int) -> RunSpec:
    return RunSpec(
        experiment_id="e",
        handler="exp_one",
        function="exp_one",
        path="exp_e.py",
        name=f"exp_one[seed:{seed}]",
        parameters={},
        seed=seed,
        run_id=f"run-{seed}",
    )


def result(
    seed: int, status: Status = "completed", verdict: Verdict = "not_evaluated"
) -> ExperimentResult:
    return ExperimentResult(
        experiment_id="e",
        run_id=f"run-{seed}",
        attempt=1,
        handler="exp_one",
        name=f"exp_one[seed:{seed}]",
        path="exp_e.py",
        status=status,
        verdict=verdict,
        config={"seed": seed},
        parameters={},
        seed=seed,
        metrics={"acc": 0.6 + seed / 10},
        started_at=f"2026-01-01T00:00:0{seed}Z",
        completed_at=f"2026-01-01T00:01:0{seed}Z",
    )


def test_a_report_spans_all_runs_from_the_first_start_to_the_last_end() -> None:
    known = {f"run-{seed}": result(seed) for seed in (0, 1, 2)}

    report = conclude(EXPERIMENT, [spec(0), spec(1), spec(2)], known, [], executed_by="me@here")

    assert (report.started_at, report.completed_at) == (
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:01:02Z",
    )
    assert report.status == "completed"
    assert report.assessment.verdict == "pass"
    assert report.executed_by == "me@here"


def test_results_of_runs_that_the_file_no_longer_defines_are_left_out() -> None:
    known = {"run-0": result(0), "run-9": result(9)}

    report = conclude(EXPERIMENT, [spec(0)], known, [], executed_by="")

    assert [one.run_id for variant in report.variants for one in variant.results] == ["run-0"]
    assert report.status == "completed"


@pytest.mark.parametrize(
    "known", [{"run-0": result(0)}, {"run-0": result(0), "run-1": result(1, "failed")}]
)
def test_an_experiment_with_a_run_missing_or_broken_is_partial(
    known: dict[str, ExperimentResult],
) -> None:
    report = conclude(EXPERIMENT, [spec(0), spec(1)], known, [], executed_by="")

    assert report.status == "partial"


@pytest.mark.parametrize(
    ("verdicts", "judged", "count"),
    [
        ([], [], 0),
        (["not_evaluated"], ["not_evaluated"], 0),
        (["pass", "fail", "not_evaluated"], [], 2),
        (["not_evaluated"], ["undecided", "pass", "not_evaluated"], 2),
    ],
)
def test_verdicts_reached_are_counted(
    verdicts: list[Verdict], judged: list[Verdict], count: int
) -> None:
    results = [result(seed, verdict=verdict) for seed, verdict in enumerate(verdicts)]
    judgements = [Judgement(name="crit", verdict=verdict) for verdict in judged]

    assert evaluations(results, judgements) == count
