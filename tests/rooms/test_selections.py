"""Predicates and mappings drop or keep points, and mistakes in them are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.groups import Group, cases_group, grid_group
from pytest_gpuexp.records import Plain
from pytest_gpuexp.sweep import Point, expand


def parameters(points: Sequence[Point]) -> list[Mapping[str, Plain]]:
    return [point.parameters for point in points]


def problems_of(group: Group) -> str:
    with pytest.raises(UsageProblems) as caught:
        expand([group], None)
    return "; ".join(caught.value.problems)


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (lambda lr, width: lr == 0.01 and width == 128, 3),
        (lambda width: np.bool_(width == 32), 2),
        (lambda width, limit=100: width < limit, 2),
        (lambda *rest, width, **values: values["lr"] == 0.01, 2),
        ({"lr": 0.01, "width": 32}, 3),
        ({"lr": [0.01, 0.1], "width": (32,)}, 3),
        ([{"lr": 0.01}, lambda width: width == 32], 1),
        ([], 4),
    ],
    ids=[
        "function",
        "numpy bool",
        "default",
        "all values",
        "mapping",
        "mapping of lists",
        "several",
        "none",
    ],
)
def test_exclude_takes_a_function_a_mapping_or_several(exclude: Any, left: int) -> None:
    group = grid_group({"lr": [0.001, 0.01], "width": [32, 128]}, exclude=exclude)

    assert len(expand([group], None)) == left


def test_a_mapping_can_mean_a_list_as_a_value() -> None:
    group = grid_group({"hidden": [[1, 2], [3]]}, exclude={"hidden": [1, 2]})

    assert parameters(expand([group], None)) == [{"hidden": [3]}]


def test_a_predicate_may_ask_for_the_seed_and_for_other_decorators_parameters() -> None:
    group = grid_group({"lr": [1, 2]}, only=lambda lr, width, seed: lr + width == seed)

    points = expand([group, cases_group([{"width": 3}])], 6)

    assert [point.id for point in points] == ["lr:1-width:3-seed:4", "lr:2-width:3-seed:5"]


@pytest.mark.parametrize(
    ("exclude", "told"),
    [
        (lambda widht: True, "'widht' is not a parameter; did you mean 'width'? (lr, seed, width)"),
        ({"lrr": 1}, "'lrr' is not a parameter; did you mean 'lr'?"),
        ("lr == 1", "'lr == 1' (str) is neither a function nor a mapping"),
        (lambda lr, /: True, "'lr' cannot be given by name; leave out the /"),
        ({"lr": {1, 2}}, "'lr' never equals {1, 2} (set): a set has no order; write a list"),
        (
            lambda lr: 1 / 0,
            "exclude raised ZeroDivisionError at lr:0.001-width:32: division by zero",
        ),
        (lambda lr: True, "none of 4 points is left after grid: exclude"),
        (dict.get, "cannot be given by name"),
    ],
)
def test_a_wrong_predicate_is_told(exclude: Any, told: str) -> None:
    group = grid_group({"lr": [0.001, 0.01], "width": [32, 128]}, exclude=exclude)

    assert told in problems_of(group)


def test_a_predicate_on_dotted_names_is_told_how_to_get_them() -> None:
    group = grid_group({"model.depth": [1]}, only=lambda depth: True)

    assert "for dotted names take **values" in problems_of(group)
