"""What a ``@criterion`` function is given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pytest_gpuexp.records import ExperimentResult
from pytest_gpuexp.replicates import Replicates, UnknownMetric


def run(
    seed: int, lr: float = 0.1, status: Any = "completed", **metrics: float
) -> ExperimentResult:
    return ExperimentResult(
        experiment_id="c1",
        run_id=f"{lr}-{seed}",
        attempt=1,
        handler="exp_mlp",
        name=f"exp_mlp[lr:{lr}-seed:{seed}]",
        path="exp_c1.py",
        status=status,
        verdict="not_evaluated",
        config={},
        parameters={"lr": lr},
        seed=seed,
        metrics=metrics,
    )


def test_a_metric_is_an_array_in_ascending_order_of_seed() -> None:
    replicates = Replicates([run(7, acc=0.7), run(0, acc=0.5), run(42, acc=0.9)])

    assert replicates["acc"].tolist() == [0.5, 0.7, 0.9]
    assert replicates["acc"].dtype == np.float64
    assert replicates.seeds.tolist() == [0, 7, 42]
    assert [result.seed for result in replicates.results] == [0, 7, 42]
    assert replicates.parameters == {"lr": 0.1}
    assert replicates.variants == []


def test_only_completed_runs_have_values_and_the_others_are_told() -> None:
    replicates = Replicates([run(0, acc=0.5), run(1, status="timeout", acc=0.1)])

    assert replicates["acc"].shape == (1,)
    assert [result.status for result in replicates.missing] == ["timeout"]
    assert repr(replicates) == "<Replicates over seed: acc; 1 of 2 runs completed>"


def test_a_metric_that_one_replicate_lacks_is_nan_there() -> None:
    replicates = Replicates([run(0, acc=0.5, loss=1), run(1, acc=0.6)])

    assert list(replicates) == ["acc", "loss"]
    assert replicates["loss"][0] == 1
    assert math.isnan(replicates["loss"][1])


def test_over_run_a_metric_is_a_number() -> None:
    replicates = Replicates([run(0, acc=0.5)], over="run")

    assert replicates["acc"] == 0.5
    assert replicates["acc"].shape == ()
    assert f"{replicates['acc']:.2f}" == "0.50"


def test_over_all_values_come_variant_by_variant() -> None:
    results = [run(1, 0.1, acc=2), run(0, 0.01, acc=3), run(0, 0.1, acc=1), run(1, 0.01, "oom")]

    replicates = Replicates(results, over="all")

    assert replicates["acc"].tolist() == [1, 2, 3]
    assert replicates.seeds.tolist() == [0, 1, 0]
    assert replicates.parameters == [{"lr": 0.1}, {"lr": 0.01}]
    assert [variant["acc"].tolist() for variant in replicates.variants] == [[1, 2], [3]]
    assert [len(variant.missing) for variant in replicates.variants] == [0, 1]


def test_an_unknown_metric_lists_the_right_names() -> None:
    replicates = Replicates([run(0, loss=1, acc=0.5)])

    with pytest.raises(UnknownMetric) as caught:
        replicates["accuracy"]

    assert str(caught.value) == ("'accuracy' is not a metric of exp_mlp; it reported: acc, loss")
    assert isinstance(caught.value, KeyError)
    assert "accuracy" not in replicates
    assert replicates.get("accuracy") is None


def test_without_a_completed_run_there_is_nothing_to_judge() -> None:
    replicates = Replicates([run(0, status="failed")])

    assert (len(replicates), replicates.results, len(replicates.missing)) == (0, (), 1)
    with pytest.raises(UnknownMetric, match="'acc' was not measured: no run completed"):
        replicates["acc"]


def test_what_a_criterion_does_to_its_array_does_not_change_the_next_ones() -> None:
    replicates = Replicates([run(0, acc=0.5)])

    replicates["acc"][:] = 0

    assert replicates["acc"].tolist() == [0.5]
