"""What decorators say becomes plain points, and what is wrong with them is told."""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.groups import Group, cases_group, grid_group, paired_group, parametrize_group
from pytest_gpuexp.records import Plain
from pytest_gpuexp.sweep import Point, expand


class Colour(enum.Enum):
    RED = 1


def parameters(points: Sequence[Point]) -> list[Mapping[str, Plain]]:
    return [point.parameters for point in points]


def problems_of(group: Group) -> str:
    with pytest.raises(UsageProblems) as caught:
        expand([group], None)
    return "; ".join(caught.value.problems)


def test_pairs_move_together() -> None:
    points = expand([paired_group({"lr": [1, 1, 2], "steps": (10, 20, 20)})], None)

    assert parameters(points) == [
        {"lr": 1, "steps": 10},
        {"lr": 1, "steps": 20},
        {"lr": 2, "steps": 20},
    ]


def test_cases_run_as_written_in_the_first_ones_order() -> None:
    points = expand([cases_group([{"b": 1, "a": 2}, {"a": 3, "b": 4}])], None)

    assert [point.id for point in points] == ["b:1-a:2", "b:4-a:3"]


@pytest.mark.parametrize(
    ("argnames", "argvalues", "ids"),
    [
        ("lr", [1, (2, 3)], ["lr:1", "lr:2+3"]),
        ("a, b", [(1, 2), [3, 4]], ["a:1-b:2", "a:3-b:4"]),
        (["a", "b"], [(1, 2)], ["a:1-b:2"]),
        (("a",), [(1,)], ["a:1"]),
    ],
)
def test_parametrize_takes_its_arguments_as_pytest_does(
    argnames: Any, argvalues: list[Any], ids: list[str]
) -> None:
    assert [p.id for p in expand([parametrize_group(argnames, argvalues)], None)] == ids


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({1, 2}, "a set has no order; write a list"),
        (Path("a"), "paths differ between machines; write str(path)"),
        (Colour.RED, "write its .value or .name"),
        (b"x", "write a str"),
        (np.zeros(3), "arrays do not fit into a report; write .tolist()"),
        (len, "write a name, and look it up in the handler"),
        (object(), "write None, bool, int, float, str, or lists and dicts of these"),
        (math.nan, "NaN is not equal even to itself"),
        (np.float32("nan"), "NaN is not equal even to itself; write None"),
        ([1, [{"a": {2}}]], "a set has no order"),
        ({1: 2}, "the key 1 (int) is not a str; write str keys"),
        (10**400, "it is wider than 1024 bits"),
        ("\ud800", "it is not valid Unicode"),
        (1j, "write None, bool"),
    ],
)
def test_a_value_that_no_report_could_hold_is_refused_with_advice(value: Any, told: str) -> None:
    problem = problems_of(grid_group({"lr": [1, value]}))

    assert problem.startswith("grid: axis 'lr': value ")
    assert f"({type(value).__name__}) cannot be a parameter: " in problem
    assert told in problem


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    assert "nested more than 32 deep" in problems_of(grid_group({"lr": [endless]}))


def test_numpys_and_pythons_own_kinds_become_plain() -> None:
    class Name(str):
        __slots__ = ()

    written = [np.float64(0.5), np.int32(2), np.bool_(True), np.array(3), (1, 2), Name("x"), {}]

    values = [p["v"] for p in parameters(expand([grid_group({"v": written})], None))]

    assert values == [0.5, 2, True, 3, [1, 2], "x", {}]
    assert [type(value) for value in values] == [float, int, bool, int, list, str, dict]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: grid_group({"lr": []}), "grid: axis 'lr' is empty"),
        (lambda: grid_group({}), "grid() has no axes"),
        (lambda: grid_group({"opt": "adam"}), "is 'adam' (str), not a list of values; write ['ad"),
        (lambda: grid_group({"lr": 0.1}), "is 0.1 (float), not a list of values; write [0.1]"),  # type: ignore[dict-item]
        (lambda: grid_group({"lr": np.array(1)}), "not a list of values"),
        (lambda: grid_group({"lr": {1, 2}}), "which has no order; write a list"),
        (
            lambda: grid_group({"lr": itertools.count()}),
            "more than 1,000,000 values; is it endless",
        ),
        (lambda: grid_group({"lr": [1, 2, 1]}), "grid: axis 'lr': 1 is given 2 times"),
        (lambda: grid_group({"lr": [*range(9)] * 2}), "grid: axis 'lr': 4 more are given several"),
        (lambda: grid_group({"runner": [1]}), "grid: 'runner' cannot name a parameter"),
        (lambda: grid_group({"seed": [1]}), "write @seeds(...) or --seed"),
        (lambda: paired_group({}), "paired() has no axes"),
        (lambda: paired_group({"a": [1], "b": [1, 2]}), "different lengths: a has 1, b has 2"),
        (lambda: paired_group({"a": [1, 1], "b": [2, 2]}), "point: a:1-b:2 is given 2 times"),
        (lambda: cases_group([]), "cases is empty; give it at least one value"),
        (lambda: cases_group([1]), "cases[0]: 1 (int) is not a mapping of names to values"),
        (lambda: cases_group([{"a": 1}, {"b": 1}]), "cases[1]: the rows must name the same"),
        (lambda: cases_group([{"a": 1}, {"a": {2}}]), "cases[1]: 'a': value {2} (set) cannot be"),
        (lambda: parametrize_group("a", []), "parametrize is empty"),
        (lambda: parametrize_group("a,b", [(1,)]), "parametrize[0]: (1,) (tuple) does not hold"),
        (lambda: parametrize_group("a,a", [(1, 2)]), "parametrize: 'a' is named twice"),
        (lambda: parametrize_group("seed", [1]), "parametrize: 'seed' cannot name a parameter"),
    ],
)
def test_what_is_wrong_in_a_decorator_is_told(make: Callable[[], Group], told: str) -> None:
    assert told in problems_of(make())
