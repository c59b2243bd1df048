"""A handler with its marks is a fixed list of runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp import grid, handlers, seeds, tier
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.handlers import Handler
from pytest_gpuexp.overrides import Overrides
from pytest_gpuexp.records import Experiment
from pytest_gpuexp.settings import Settings

EXPERIMENT = Experiment(experiment_id="c1", path="experiments/exp_a.py")


def read(
    function: Callable[..., Any],
    *,
    name: str = "exp_a",
    overrides: Overrides | None = None,
    settings: Settings | None = None,
) -> Handler:
    return handlers.read_handler(
        name,
        function,
        EXPERIMENT,
        overrides=overrides or Overrides(),
        settings=settings or Settings(),
    )


def test_a_run_knows_all_that_a_worker_needs() -> None:
    @grid(lr=[0.1])
    @seeds([7])
    @tier("debug")
    def function(runner: Any, lr: float) -> None: ...

    [spec] = read(function, name="e1_1_latents").specs

    assert spec.node_id == "experiments/exp_a.py::e1_1_latents[lr:0.1-seed:7]"
    assert (spec.experiment_id, spec.handler, spec.function) == ("c1", "e1_1", "e1_1_latents")
    assert (spec.parameters, spec.seed) == ({"lr": 0.1}, 7)
    assert (spec.tier, spec.gpus, spec.timeout_seconds) == ("debug", 1, 600.0)


def test_a_bare_handler_is_one_run_of_its_own_name() -> None:
    def function(runner: Any) -> None: ...

    handler = read(function)

    assert [spec.name for spec in handler.specs] == ["exp_a"]
    assert list(handler.variants) == [""]


@given(
    widths=st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
    count=st.integers(1, 4),
)
def test_variants_share_the_runs_among_them(widths: Sequence[int], count: int) -> None:
    def function(runner: Any) -> None: ...

    handler = read(seeds(count)(grid(width=widths)(function)))

    assert len(handler.specs) == len(widths) * count
    assert len({spec.run_id for spec in handler.specs}) == len(handler.specs)
    assert len(handler.variants) == len(widths)
    assert [spec for specs in handler.variants.values() for spec in specs] == list(handler.specs)
    for specs in handler.variants.values():
        assert len({spec.parameters["width"] for spec in specs}) == 1


def test_what_a_tier_says_does_not_change_who_a_run_is() -> None:
    def function(runner: Any) -> None: ...

    [plain] = read(function).specs
    [placed] = read(function, settings=Settings(gpu="h100", run_timeout=9.0)).specs

    assert plain.run_id == placed.run_id


def test_the_command_line_may_give_an_argument_that_no_decorator_does() -> None:
    def function(runner: Any, lr: float = 0.1, *, width: int = 8) -> None: ...

    overrides = Overrides(axes={"width": (1, 2), "depth": (3,)}, seeds=(4,))

    assert [spec.name for spec in read(function, overrides=overrides).specs] == [
        "exp_a[width:1-seed:4]",
        "exp_a[width:2-seed:4]",
    ]


@pytest.mark.parametrize("name", ["runner", "request", "seed"])
def test_the_command_line_never_gives_what_is_ours(name: str) -> None:
    def function(runner: Any, request: Any, seed: int) -> None: ...

    handler = read(function, overrides=Overrides(axes={name: (1, 2)}))

    assert [spec.name for spec in handler.specs] == ["exp_a"]


def test_the_filter_is_left_to_the_session_so_that_criteria_know_all_runs() -> None:
    from pytest_gpuexp.expressions import Expression

    @grid(lr=[1, 2])
    def function(runner: Any) -> None: ...

    handler = read(function, overrides=Overrides(filter=Expression.parse("lr == 1")))

    assert len(handler.specs) == 2


def test_the_marks_of_a_row_hold_for_its_runs_alone() -> None:
    @pytest.mark.parametrize("lr", [1, pytest.param(2, marks=pytest.mark.skip)])
    @seeds(2)
    def function(runner: Any) -> None: ...

    handler = read(function)

    assert [
        [mark.name for row in handler.rows_of(spec) for mark in row.marks] for spec in handler.specs
    ] == [
        [],
        [],
        ["skip"],
        ["skip"],
    ]


def test_the_rows_of_all_runs_are_found_in_as_many_steps_as_there_are_runs() -> None:
    def steps(count: int) -> int:
        @pytest.mark.parametrize("lr", range(count), ids=str)
        def function(runner: Any) -> None: ...

        handler, calls = read(function), list[str]()
        sys.setprofile(lambda frame, event, argument: calls.append(event))
        try:
            rows = [handler.rows_of(spec) for spec in handler.specs]
        finally:
            sys.setprofile(None)
        assert [row.words for [row] in rows] == [(str(number),) for number in range(count)]
        return len(calls)

    assert steps(200) < 3 * steps(100)


def test_every_problem_of_a_handler_is_told_at_once() -> None:
    @seeds(0)
    @grid(lr=[])
    @tier("fats")
    def function(runner: Any) -> None: ...

    with pytest.raises(UsageProblems) as caught:
        read(function)

    assert caught.value.subject == "experiments/exp_a.py::exp_a"
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "tier:",
        "grid:",
        "seeds:",
    ]


def test_arguments_are_those_that_have_a_name() -> None:
    def function(runner: Any, lr: float = 1, *args: Any, depth: int, **rest: Any) -> None: ...

    assert handlers.arguments(function) == {"runner", "lr", "depth"}
