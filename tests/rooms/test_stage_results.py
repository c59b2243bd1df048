from __future__ import annotations

import math
from typing import Any, cast

import pytest

from pytest_gpuexp.records import ExperimentResult, Status
from pytest_gpuexp.stage_results import StageResult, stage_result
from pytest_gpuexp.stages import StageConfig

STAGE = StageConfig(name="s", metric="auc", direction="at_least")


def run(
    lr: float, seed: int, auc: float | None, status: Status = "completed", seconds: float = 2.0
) -> ExperimentResult:
    return ExperimentResult(
        experiment_id="e",
        run_id=f"r-{lr}-{seed}",
        attempt=1,
        handler="exp_a",
        name=f"exp_a[lr:{lr}-seed:{seed}]",
        path="exp_a.py",
        status=status,
        verdict="not_evaluated",
        config={"lr": lr, "seed": seed},
        parameters={"lr": lr},
        seed=seed,
        metrics={} if auc is None else {"auc": auc},
        duration_seconds=seconds,
    )


def summed(*results: ExperimentResult, stage: StageConfig = STAGE) -> StageResult:
    return stage_result(stage, results, started_at="a", completed_at="b")


def test_the_summary_counts_as_the_page_does_and_tells_timeouts_apart() -> None:
    summary = summed(
        run(0.1, 0, 0.5), run(0.1, 1, None, "timeout"), run(0.2, 0, None, "failed")
    ).summary

    assert summary["total_experiments"] == 3
    assert (summary["completed"], summary["failed"], summary["timeouts"]) == (1, 2, 1)
    assert summary["success_rate"] == 0.333
    assert summary["mean_duration_seconds"] == 2.0
    assert summary["total_duration_seconds"] == 6.0
    assert summary["verdicts"] == {"not_evaluated": 3}


def test_the_best_is_a_mean_over_seeds_not_one_lucky_seed() -> None:
    result = summed(run(0.1, 0, 0.99), run(0.1, 1, 0.5), run(0.2, 0, 0.8), run(0.2, 1, 0.9))

    assert result.best_config == {"lr": 0.2}
    assert result.best_metrics == {"auc": pytest.approx(0.85)}
    assert result.summary["best"]["n"] == 2


def test_a_variant_with_failed_replicates_does_not_lead_by_luck_and_is_told() -> None:
    result = summed(
        run(0.1, 0, 0.99), run(0.1, 1, None, "failed"), run(0.2, 0, 0.8), run(0.2, 1, 0.9)
    )

    assert result.best_config == {"lr": 0.2}
    assert result.summary["best"]["passed_over"] == ["lr:0.1"]


def test_where_all_have_failed_replicates_the_best_of_them_says_how_many() -> None:
    result = summed(run(0.1, 0, 0.99), run(0.1, 1, None, "oom"))

    assert result.best_config == {"lr": 0.1}
    assert result.summary["best"]["failed_replicates"] == 1


def test_ties_are_told_and_the_first_variant_stands() -> None:
    best = summed(run(0.1, 0, 0.5), run(0.2, 0, 0.5)).summary["best"]

    assert (best["variant"], best["ties"]) == ("lr:0.1", ["lr:0.2"])


def test_one_seed_has_neither_spread_nor_interval() -> None:
    (variant,) = summed(run(0.1, 0, 0.5)).summary["variants"]

    assert variant["metrics"]["auc"] == {"mean": 0.5, "std": None, "n": 1, "interval_95": None}


@pytest.mark.parametrize(
    ("stage", "auc", "why"),
    [
        (StageConfig(name="s"), 0.5, "no metric is named"),
        (STAGE, None, "no variant has a finite mean of auc"),
        (STAGE, math.nan, "no variant has a finite mean of auc"),
    ],
)
def test_where_nothing_can_be_best_the_summary_says_why(
    stage: StageConfig, auc: float | None, why: str
) -> None:
    result = summed(run(0.1, 0, auc), stage=stage)

    assert (result.best_config, result.best_metrics) == ({}, {})
    assert why in cast(dict[str, Any], result.summary["best"])["why"]
