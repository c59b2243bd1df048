"""How long the rest of a session takes."""

from __future__ import annotations

import pytest

from pytest_gpuexp.estimates import Estimate
from pytest_gpuexp.records import ExperimentResult, Status


def ended(seconds: float, status: Status = "completed") -> ExperimentResult:
    return ExperimentResult(
        experiment_id="c1",
        run_id="r",
        attempt=1,
        handler="exp_a",
        name="exp_a",
        path="exp_c1.py",
        status=status,
        verdict="pass",
        config={},
        parameters={},
        seed=0,
        duration_seconds=seconds,
    )


def test_nothing_is_promised_before_two_runs_have_ended() -> None:
    estimate = Estimate()
    estimate.add(ended(10))
    estimate.add(ended(3, "cancelled"))

    assert estimate.seconds_left(pending=5, ages=[]) is None


def test_pending_runs_are_spread_over_the_most_that_ever_ran_at_once() -> None:
    estimate = Estimate()
    estimate.add(ended(8))
    estimate.add(ended(12))
    estimate.widen(4)
    estimate.widen(2)

    assert estimate.seconds_left(pending=8, ages=[0, 10, 5, 5]) == pytest.approx((80 + 20) / 4)


def test_the_last_runs_take_as_long_as_the_youngest_of_them() -> None:
    estimate = Estimate()
    estimate.add(ended(10))
    estimate.add(ended(10))
    estimate.widen(2)

    assert estimate.seconds_left(pending=0, ages=[9, 1]) == pytest.approx(9)
    assert estimate.seconds_left(pending=0, ages=[100]) == 0
    assert estimate.seconds_left(pending=0, ages=[]) == 0
