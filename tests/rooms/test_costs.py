"""What runs on rented GPUs cost at most."""

from __future__ import annotations

import dataclasses
import re

import pytest

from pytest_gpuexp.costs import worst_case
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.tiers import TIERS
from tests.rooms.attempts import a_spec


def test_the_worst_case_is_every_run_at_its_limit_on_all_its_gpus() -> None:
    specs = [
        a_spec(tier="multi"),  # two A100 for two hours
        a_spec(tier="h100", timeout_seconds=1800.0),  # the price of an H100, whatever the !
        a_spec(tier="L40S:2"),  # no limit of its own: an hour
        a_spec(),
    ]

    cost = worst_case(specs, tiers=TIERS, default="debug")

    assert cost == pytest.approx(2.10 * 2 * 2 + 3.95 / 2 + 1.95 * 2 + 0.59 / 6)


def test_nothing_costs_nothing() -> None:
    assert worst_case([], tiers=TIERS, default="standard") == 0


def test_an_unknown_price_is_asked_for_once() -> None:
    specs = [a_spec(tier="X1"), dataclasses.replace(a_spec(tier="X1"), seed=5)]

    with pytest.raises(UsageProblems, match=re.escape('as "X1" = 2.0')) as caught:
        worst_case(specs, tiers=TIERS, default="standard")

    assert len(caught.value.problems) == 1
