"""What a handler may return and log."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.returns import non_finite, plain_scalar, read_metrics, read_return


def test_the_three_keys_are_read() -> None:
    value = {"finding": "good", "metrics": {"loss": 0.5}, "artifacts": ["a.txt", Path("b.txt")]}

    returned, problems = read_return(value)

    assert problems == []
    assert (returned.finding, returned.metrics) == ("good", {"loss": 0.5})
    assert returned.artifacts == ("a.txt", "b.txt")


def test_nothing_may_be_returned() -> None:
    assert read_return(None)[1] == []


@pytest.mark.parametrize("value", [0.5, "good", [1], ("a",), np.zeros(3)])
def test_what_is_no_dict_is_refused_with_advice(value: object) -> None:
    _, problems = read_return(value)

    kind = type(value).__name__
    assert problems == [f"it is a {kind}; return None or a dict with finding, metrics, artifacts"]


def test_every_problem_is_named_and_the_rest_is_kept() -> None:
    value = {
        "loss": 0.5,
        "finding": 7,
        "metrics": {"good": 1.0, "bad": [1, 2], 3: 1.0},
        "artifacts": ["kept.txt", 5],
    }

    returned, problems = read_return(value)

    assert problems == [
        "unknown key 'loss'; the keys are finding, metrics, artifacts "
        "(a number belongs under 'metrics')",
        "'finding' is a int; it must be text",
        "metric 'bad' is a list; a metric is one number",
        "metric name 3 is not a text",
        "artifacts[1] is a int, not a path",
    ]
    assert returned.metrics == {"good": 1.0}
    assert returned.artifacts == ("kept.txt",)


@pytest.mark.parametrize("value", [{"metrics": [1.0]}, {"metrics": 0.5}])
def test_metrics_that_are_no_dict_are_refused(value: dict[str, object]) -> None:
    _, problems = read_return(value)

    assert len(problems) == 1
    assert problems[0].endswith("; it must be a dict of numbers")


@pytest.mark.parametrize("artifacts", ["a.txt", {"a.txt"}, 5])
def test_artifacts_that_are_no_list_are_refused(artifacts: object) -> None:
    _, problems = read_return({"artifacts": artifacts})

    assert problems == [
        f"'artifacts' is a {type(artifacts).__name__}; it must be a list of what save_artifact gave"
    ]


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0.5),
        np.float64(0.5),
        np.array(0.5),
        np.array([[0.5]]),
        torch.tensor(0.5),
        torch.tensor([0.5]),
        torch.tensor([[0.5]], requires_grad=True),
    ],
)
def test_scalars_of_numpy_and_torch_become_plain_numbers(value: Any) -> None:
    scalar = plain_scalar(value)

    assert scalar == 0.5
    assert type(scalar) is float


def test_integers_stay_what_they_are_and_truths_are_counted() -> None:
    values = [plain_scalar(v) for v in (np.int64(3), torch.tensor(3), np.bool_(True), True, 3)]

    assert [type(value) for value in values] == [int] * 5


class HalfNumber(float):
    """A number of a library's own type."""


@pytest.mark.parametrize("value", [np.longdouble(0.5), HalfNumber(0.5)])
def test_numbers_of_other_types_become_plain_too(value: Any) -> None:
    assert type(plain_scalar(value)) is float


@pytest.mark.parametrize("value", [np.zeros(3), torch.zeros(2, 2), np.zeros(0)])
def test_arrays_are_refused_with_their_shape_and_advice(value: Any) -> None:
    _, problems = read_metrics({"loss": value})

    assert problems == [
        f"metric 'loss' has shape {tuple(value.shape)}; reduce it first, as with "
        ".mean().item(), or save it as an artifact"
    ]


@pytest.mark.parametrize("value", ["0.5", None, 1j, torch.tensor(1j), np.array("a"), object()])
def test_what_is_no_number_is_refused(value: Any) -> None:
    _, problems = read_metrics({"loss": value})

    assert problems == [f"metric 'loss' is a {type(value).__name__}; a metric is one number"]


@given(st.dictionaries(st.text(min_size=1), st.floats() | st.integers()))
def test_all_numbers_are_taken_and_exactly_the_odd_ones_flagged(metrics: dict[str, float]) -> None:
    values, problems = read_metrics(metrics)

    flagged = non_finite(values)

    assert problems == []
    assert values.keys() == metrics.keys()
    assert set(flagged) == {
        name for name, value in metrics.items() if abs(value) == math.inf or value != value
    }
