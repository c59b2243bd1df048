"""How a plan reads before its first run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pytest_gpuexp.plan_lines import facts_line, plan_lines, resumption_lines
from pytest_gpuexp.records import RunSpec


def spec(
    parameters: Mapping[str, Any] | None = None, *, seed: int = 0, handler: str = "exp_mlp"
) -> RunSpec:
    return RunSpec(
        experiment_id="c1-digits-mlp",
        handler=handler,
        function=handler,
        path="exp_digits.py",
        name=f"{handler}[{seed}]",
        parameters=parameters or {},
        seed=seed,
        run_id="r",
    )


def test_a_sweep_is_told_as_variants_times_seeds() -> None:
    specs = [spec({"lr": lr}, seed=seed) for lr in (1, 2, 3, 4) for seed in range(3)]

    assert plan_lines({"c1-digits-mlp": specs}) == [
        "c1-digits-mlp: 12 runs = exp_mlp 4 variants x 3 seeds"
    ]


def test_each_handler_is_told_and_one_without_parameters_has_seeds_alone() -> None:
    specs = [spec({"lr": 1}), spec(handler="exp_cnn"), spec(handler="exp_cnn", seed=1)]

    assert plan_lines({"c1": specs}) == [
        "c1: 3 runs = exp_mlp 1 variant x 1 seed + exp_cnn 2 seeds"
    ]


def test_variants_with_different_seeds_are_not_multiplied() -> None:
    specs = [spec({"lr": 1}), spec({"lr": 1}, seed=1), spec({"lr": 2})]

    assert plan_lines({"c1": specs}) == ["c1: 3 runs = exp_mlp 3 runs of 2 variants"]


def test_runs_that_differ_in_what_is_made_of_the_seed_are_of_one_variant() -> None:
    specs = [
        dataclasses.replace(spec({**own, "out": f"out/{seed}"}, seed=seed), seeded=("out",))
        for own in ({"lr": 1}, {"lr": 2})
        for seed in range(3)
    ]

    assert plan_lines({"c1": specs}) == ["c1: 6 runs = exp_mlp 2 variants x 3 seeds"]
    assert plan_lines(
        {"c1": [dataclasses.replace(one, seeded=("lr", "out")) for one in specs]}
    ) == ["c1: 6 runs = exp_mlp 3 seeds"]


def test_an_experiment_with_nothing_to_run_is_told_too() -> None:
    assert plan_lines({"c1": []}) == ["c1: 0 runs"]
    assert plan_lines({}) == []


def test_facts_stand_in_one_line_in_their_order() -> None:
    facts = {"backend": "local", "GPUs": "none (CPU)"}

    assert facts_line(facts) == "backend local · GPUs none (CPU)"
    assert facts_line(facts, separator=", ") == "backend local, GPUs none (CPU)"


def test_a_resumption_is_told_by_reason_or_by_run() -> None:
    resumption = [("a[1]", "kept"), ("a[2]", "new"), ("a[3]", "stale: a.py changed"), ("b", "new")]

    assert resumption_lines(resumption) == [
        "resume: 1 of 4 runs kept, 3 to run",
        "  2 new",
        "  1 stale: a.py changed",
    ]
    assert resumption_lines(resumption[:2], every_run=True) == [
        "resume: 1 of 2 runs kept, 1 to run",
        "  a[1]  kept",
        "  a[2]  new",
    ]
    assert resumption_lines([]) == []
