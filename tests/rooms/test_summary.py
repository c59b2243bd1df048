"""What replicates amount to."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.records import ExperimentResult
from pytest_gpuexp.remarks import run_notes
from pytest_gpuexp.summary import newest, summarise_metric, summarise_variants

RUN = ExperimentResult(
    experiment_id="c1",
    run_id="r",
    attempt=1,
    handler="exp_a",
    name="exp_a[seed:0]",
    path="exp_c1.py",
    status="completed",
    verdict="pass",
    config={},
    parameters={},
    seed=0,
)


def run(
    seed: int = 0, lr: float | None = None, handler: str = "exp_a", **fields: Any
) -> ExperimentResult:
    inside = [f"lr:{lr}"] * (lr is not None) + [f"seed:{seed}"]
    return replace(
        RUN,
        handler=handler,
        name=f"{handler}[{'-'.join(inside)}]",
        run_id=f"{handler}-{lr}-{seed}",
        parameters={} if lr is None else {"lr": lr},
        seed=seed,
        **fields,
    )


runs = st.lists(
    st.builds(
        run,
        seed=st.integers(0, 4),
        lr=st.sampled_from([None, 0.1, 0.01, 1]),
        handler=st.sampled_from(["e1_1", "e1_10", "e1_2"]),
        attempt=st.integers(1, 3),
        status=st.sampled_from(["completed", "failed", "timeout", "skipped"]),
        verdict=st.sampled_from(["pass", "fail", "not_evaluated"]),
        metrics=st.dictionaries(st.sampled_from("ab"), st.floats()),
    ),
    unique_by=lambda result: (result.run_id, result.attempt),
)


@given(runs, st.randoms(use_true_random=False))
def test_summaries_do_not_depend_on_the_order_of_results(
    results: list[ExperimentResult], chance: random.Random
) -> None:
    shuffled = list(results)
    chance.shuffle(shuffled)

    summaries = summarise_variants(shuffled)

    assert repr(summaries) == repr(summarise_variants(results))


@given(runs)
def test_every_run_stands_in_one_variant_with_its_newest_attempt(
    results: list[ExperimentResult],
) -> None:
    variants = summarise_variants(results)

    speaking = [result for variant in variants for result in variant.results]
    assert sorted(result.run_id for result in speaking) == sorted({r.run_id for r in results})
    for result in speaking:
        assert result.attempt == max(r.attempt for r in results if r.run_id == result.run_id)


@given(st.lists(st.floats(-1e150, 1e150), min_size=2, max_size=8))
def test_mean_and_spread_are_numpys(values: list[float]) -> None:
    summary = summarise_metric(values)

    scale = max(map(abs, values)) or 1.0
    assert math.isclose(summary.mean, np.mean(values), rel_tol=1e-9, abs_tol=1e-12 * scale)
    assert math.isclose(
        summary.std, np.std(values, ddof=1), rel_tol=1e-9, abs_tol=1e-9 * scale + 1e-150
    )


def test_one_value_has_no_spread() -> None:
    summary = summarise_metric([2])

    assert (summary.mean, summary.n) == (2, 1)
    assert math.isnan(summary.std)


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([1.0, math.nan], math.nan),
        ([1.0, math.inf], math.inf),
        ([-math.inf, 1.0], -math.inf),
        ([math.inf, -math.inf], math.nan),
        ([], math.nan),
    ],
)
def test_nan_and_infinities_propagate(values: list[float], mean: float) -> None:
    summary = summarise_metric(values)

    assert repr(summary.mean) == repr(mean)
    assert math.isnan(summary.std)
    assert summary.n == len(values)


def test_values_near_the_end_of_floats_do_not_overflow() -> None:
    summary = summarise_metric([1.5e308, 1.5e308, 1.7e308])

    assert summary.mean == pytest.approx(1.5e308 + 2e307 / 3)
    assert math.isfinite(summary.std)


def test_only_completed_replicates_count_and_the_others_are_missing() -> None:
    results = [
        run(2, metrics={"acc": 0.9, "loss": 1.0}),
        run(0, metrics={"acc": 0.7}),
        run(1, metrics={"acc": 0.1}, status="timeout", verdict="not_evaluated"),
        run(3, status="skipped", verdict="not_evaluated"),
    ]

    (variant,) = summarise_variants(results)

    assert [result.seed for result in variant.results] == [0, 1, 2, 3]
    assert variant.metrics["acc"].mean == pytest.approx(0.8)
    assert (variant.metrics["acc"].n, variant.metrics["acc"].missing) == (2, 2)
    assert (variant.metrics["loss"].n, variant.metrics["loss"].missing) == (1, 3)
    assert variant.statuses == {"completed": 2, "timeout": 1, "skipped": 1}
    assert variant.verdicts == {"pass": 2, "not_evaluated": 2}


def test_variants_come_by_handler_then_by_size_and_are_named_without_the_seed() -> None:
    results = [
        run(lr=10.0, handler="e1_10"),
        run(lr=9.0, handler="e1_10"),
        run(1, lr=0.1, handler="e1_2"),
        run(handler="e1_1"),
    ]

    variants = summarise_variants(results)

    assert [(variant.handler, variant.name) for variant in variants] == [
        ("e1_1", ""),
        ("e1_2", "lr:0.1"),
        ("e1_10", "lr:9.0"),
        ("e1_10", "lr:10.0"),
    ]


def test_parameters_of_any_plain_kind_can_be_told_apart_and_sorted() -> None:
    values: list[Any] = [None, True, 1.5, "a", [1, 2], {"b": None}, math.nan]
    results = [replace(run(), run_id=str(i), parameters={"p": v}) for i, v in enumerate(values)]

    assert len(summarise_variants(results)) == len(values)


def test_the_newest_attempt_speaks_even_when_it_failed() -> None:
    old, new = run(metrics={"acc": 1.0}), run(attempt=2, status="failed")

    assert newest([new, old]) == newest([old, new]) == [new]


def test_replicates_on_different_devices_are_never_averaged_without_a_word() -> None:
    a100, h100 = "NVIDIA A100", "NVIDIA H100"
    results = [
        run(seed=0, device=a100),
        run(seed=1, device=h100, attempt=2),
        run(seed=2, device=a100),
        run(seed=3, device="cpu", status="failed"),
    ]

    [variant] = summarise_variants(results)

    assert variant.devices == {a100: 2, h100: 1}
    assert run_notes([variant], []) == [
        "1 of 4 runs did not complete: 1 failed",
        "the replicates of exp_a ran on different devices: 2 on NVIDIA A100, 1 on NVIDIA H100",
    ]


def test_which_gpu_of_a_machine_it_was_makes_no_difference() -> None:
    same = summarise_variants([run(seed=0, device="GPU 0"), run(seed=1, device="GPU 1")])
    other = summarise_variants([run(seed=0, device="GPU 0"), run(seed=1, device="GPU 0,1")])

    assert same[0].devices == {"1 GPU": 2}
    assert run_notes(same, []) == []
    assert other[0].devices == {"1 GPU": 1, "2 GPUs": 1}
