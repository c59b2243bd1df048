from __future__ import annotations

import pytest

from pytest_gpuexp import at_least, at_most
from pytest_gpuexp.thresholds import read_thresholds


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"acceptable": 1, "direction": "at_least"}, at_least(1)),
        ({"target": 2, "acceptable": 1, "failure": 0}, at_least(1, target=2, failure=0)),
        (
            {"target": 0.25, "acceptable": 0.35, "failure": 0.45},
            at_most(0.35, target=0.25, failure=0.45),
        ),
        ({"target": 2, "failure": 1}, at_least(2, target=2, failure=1)),
        ({"acceptable": 1, "direction": "lower"}, at_most(1)),
        (at_most(3), at_most(3)),
    ],
)
def test_a_threshold_says_its_direction_or_its_numbers_do(written: object, meant: object) -> None:
    assert read_thresholds({"m": written}) == ({"m": meant}, [])


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (3, "it is not a mapping of metrics"),
        ({"m": {"acceptable": 1}}, "m: direction: None is not at_least or at_most"),
        ({"m": {"direction": "up"}}, "m: acceptable is missing: what must be reached"),
        ({"m": {"acceptable": 1, "direction": "lower", "goal": 2}}, "m: goal is not known "),
    ],
)
def test_what_is_no_threshold_is_told(written: object, problem: str) -> None:
    assert read_thresholds(written)[1][0].startswith(problem)
