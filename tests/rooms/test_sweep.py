"""A handler's points are the product of what was written, each with an id of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from _pytest.mark.expression import Expression as KExpression
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.expressions import Expression
from pytest_gpuexp.groups import Group, cases_group, grid_group, paired_group, parametrize_group
from pytest_gpuexp.overrides import Overrides
from pytest_gpuexp.records import Plain
from pytest_gpuexp.sweep import Point, expand, nest

GRID = grid_group({"lr": [0.001, 0.01], "width": [32, 128]})


def parameters(points: Sequence[Point]) -> list[Mapping[str, Plain]]:
    return [point.parameters for point in points]


def problems_of(*groups: Group, seeds: Any = None, **options: Any) -> list[str]:
    with pytest.raises(UsageProblems) as caught:
        expand(groups, seeds, subject="exp_a.py::exp_a", **options)
    assert caught.value.subject == "exp_a.py::exp_a"
    return list(caught.value.problems)


def test_a_grid_is_a_product_with_the_first_axis_slowest_and_the_seed_fastest() -> None:
    points = expand([GRID], 2)

    assert [point.id for point in points[:5]] == [
        "lr:0.001-width:32-seed:0",
        "lr:0.001-width:32-seed:1",
        "lr:0.001-width:128-seed:0",
        "lr:0.001-width:128-seed:1",
        "lr:0.01-width:32-seed:0",
    ]
    assert points[3] == Point(
        parameters={"lr": 0.001, "width": 128},
        seed=1,
        id="lr:0.001-width:128-seed:1",
        variant="lr:0.001-width:128",
    )


def test_a_handler_without_anything_runs_once_under_its_plain_name() -> None:
    assert expand([], None) == [Point(parameters={}, seed=0, id="", variant="")]


def test_seeds_alone_stand_alone_in_the_id() -> None:
    assert [point.id for point in expand([], [7, 3])] == ["seed:7", "seed:3"]
    assert [point.id for point in expand([], [0])] == ["seed:0"]


def test_without_seeds_the_id_tells_none() -> None:
    assert expand([GRID], None)[0].id == "lr:0.001-width:32"


axes = st.dictionaries(
    st.sampled_from(["a", "b", "model.c"]),
    st.lists(
        st.integers(0, 5) | st.booleans() | st.sampled_from([1.0, "1", "x", None, "True"]),
        min_size=1,
        max_size=4,
        unique_by=repr,
    ),
    min_size=1,
)


@given(axes, st.integers(1, 3))
def test_the_size_is_the_product_of_the_axes_and_ids_are_unique(
    axes: dict[str, list[Plain]], seeds: int
) -> None:
    points = expand([grid_group(axes)], seeds)

    assert len(points) == math.prod(map(len, axes.values())) * seeds
    assert len({point.id for point in points}) == len(points)
    assert [tuple(map(repr, point.parameters.values())) for point in points[::seeds]] == [
        tuple(map(repr, row)) for row in itertools.product(*axes.values())
    ]


@given(axes, st.integers(0, 4))
def test_exclude_and_only_divide_the_points(axes: dict[str, list[Plain]], threshold: int) -> None:
    def small(**values: Plain) -> bool:
        return len(repr(values)) % 5 < threshold or values["seed"] == 0

    kept = expand([grid_group(axes, only=small)], 2)
    try:
        dropped = expand([grid_group(axes, exclude=small)], 2)
    except UsageProblems:
        dropped = []

    assert sorted(p.id for p in kept + dropped) == sorted(
        p.id for p in expand([grid_group(axes)], 2)
    )


@pytest.mark.parametrize(
    ("seeds", "told"),
    [
        (0, "seeds: 0 is no count of seeds; write 1 to"),
        (-1, "-1 is no count"),
        (True, "seeds is True (bool), not a list of values"),
        ([], "seeds is empty"),
        ([-1], "-1 is out of range"),
        ([2**32], "4294967296 is out of range; numpy takes 0 to 2**32 - 1"),
        ([0, 0], "0 is given twice"),
        (["x", 1.5, True], "seeds: 'x' (str) is not an int; seeds: 1.5 (float) is not an int; "),
        ("12", "not a list of values"),
        ({1}, "no order"),
    ],
)
def test_wrong_seeds_are_told(seeds: Any, told: str) -> None:
    assert told in "; ".join(problems_of(seeds=seeds))


def test_seeds_may_be_numpys() -> None:
    count: Any = np.int64(2)

    assert [p.seed for p in expand([], count)] == [0, 1]
    assert [type(p.seed) for p in expand([], np.arange(2))] == [int, int]


def test_every_problem_of_a_handler_is_told_at_once() -> None:
    first = grid_group({"lr": [], "model": [1]}, exclude={"nope": 1})
    second = cases_group([{"lr": {1}, "model.x": 2}])

    told = problems_of(first, second, seeds=0)

    assert len(told) == 6
    assert "'lr' is given by grid and cases; leave one out" in told
    assert "'model' has a value of its own, so 'model.x' has no place in it" in told


def test_a_sweep_beyond_all_bounds_is_refused_before_it_is_made() -> None:
    group = grid_group({"a": range(10_000), "b": range(10_000)})

    assert problems_of(group, seeds=3) == [
        "there are 300,000,000 points; the most that can be run is 1,000,000"
    ]


def test_the_command_line_replaces_an_axis_in_its_place() -> None:
    points = expand([GRID], None, overrides=Overrides(axes={"lr": (5, 6)}))

    assert [p.id for p in points] == ["lr:5-width:32", "lr:5-width:128", "lr:6-width:32",
                                      "lr:6-width:128"]  # fmt: skip


@pytest.mark.parametrize(
    "group",
    [
        paired_group({"a": [1, 1, 2], "b": [1, 2, 3]}),
        cases_group([{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 3}]),
        parametrize_group("a,b", [(1, 1), (1, 2), (2, 3)]),
    ],
)
def test_a_replaced_column_varies_on_its_own(group: Group) -> None:
    points = expand([group], None, overrides=Overrides(axes={"b": (8, 9)}))

    assert [p.id for p in points] == ["a:1-b:8", "a:1-b:9", "a:2-b:8", "a:2-b:9"]


def test_the_command_line_may_give_an_argument_that_the_file_leaves_open() -> None:
    overrides = Overrides(axes={"depth": (1, 2), "other": (3,)}, added={"model.x": (4,)})

    points = expand([], None, overrides=overrides, accepted={"runner", "depth"})

    assert [p.id for p in points] == ["depth:1-model.x:4", "depth:2-model.x:4"]


def test_an_added_axis_replaces_one_that_is_declared() -> None:
    points = expand([GRID], None, overrides=Overrides(added={"width": (1,)}))

    assert [p.id for p in points] == ["lr:0.001-width:1", "lr:0.01-width:1"]


def test_the_command_lines_seeds_replace_the_files() -> None:
    assert [p.id for p in expand([], 9, overrides=Overrides(seeds=(42,)))] == ["seed:42"]
    assert [p.id for p in expand([], None, overrides=Overrides(seeds=(4,)))] == ["seed:4"]


def test_the_filter_leaves_what_matches_and_may_leave_nothing() -> None:
    def filtered(text: str) -> list[str]:
        overrides = Overrides(filter=Expression.parse(text))
        return [point.id for point in expand([GRID], 2, overrides=overrides)]

    assert filtered("lr == 1e-3 and width > 32 and seed in (1, 2)") == ["lr:0.001-width:128-seed:1"]
    assert filtered("depth == 3") == []


def test_a_filter_that_does_not_fit_the_values_is_told() -> None:
    with pytest.raises(UsageProblems, match=r"lr=0\.001: '<' not supported"):
        expand([GRID], None, overrides=Overrides(filter=Expression.parse("lr < 'x'")))


def test_an_id_can_be_given_to_pytests_k() -> None:
    values = [1e-5, "a b/c[d]", "1", [1, 2], {"k": "ü"}, None, -1, 1e20]

    for point in expand([grid_group({"model.x": values})], 1):
        assert KExpression.compile(f"not {point.id}").evaluate(lambda name, /, **_: False)


def test_dotted_names_are_nested() -> None:
    flat = {"model.num_layers": 4, "model.act.name": "relu", "lr": 0.1}

    assert nest(flat) == {"model": {"num_layers": 4, "act": {"name": "relu"}}, "lr": 0.1}


def test_what_is_nested_is_a_copy() -> None:
    flat = {"hidden": [1, 2]}

    nest(flat)["hidden"].append(3)

    assert flat == {"hidden": [1, 2]}


def test_a_name_that_is_value_and_group_at_once_cannot_be_nested() -> None:
    with pytest.raises(UsageProblems, match="'model' has a value of its own"):
        nest({"model.x": 1, "model": 2})
