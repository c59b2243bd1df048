"""A run is attempted again after the ends that were named, as often as was said, and no more."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp import retrying
from pytest_gpuexp.records import Status
from pytest_gpuexp.retrying import Retries
from tests.rooms.attempts import a_spec

LARGER = {"tier": "multi", "gpus": 2, "timeout_seconds": 60.0}


@given(
    st.integers(0, 5),
    st.sets(st.sampled_from(retrying.STATUSES)),
    st.sampled_from(get_args(Status)),
)
def test_there_are_as_many_attempts_as_was_said(
    number: int, on: set[Status], status: Status
) -> None:
    retries = Retries(number=number, on=frozenset(on))

    tries = 1
    while retrying.next_spec(a_spec(), retries, tries=tries, status=status) is not None:
        tries += 1

    assert tries == (1 + number if status in on else 1)


def test_what_has_come_to_its_end_can_never_be_retried() -> None:
    assert set(get_args(Status)) - set(retrying.STATUSES) == {"completed", "cancelled", "skipped"}


def test_no_retries_are_none() -> None:
    assert retrying.next_spec(a_spec(), None, tries=1, status="oom") is None


def test_only_an_oom_asks_for_the_larger_machine() -> None:
    retries = Retries(number=2, instead=LARGER)
    small = a_spec(tier="debug", gpus=1)

    large = retrying.next_spec(small, retries, tries=1, status="oom")

    assert large is not None
    assert (large.tier, large.gpus, large.timeout_seconds) == ("multi", 2, 60.0)
    assert large.run_id == small.run_id
    assert retrying.next_spec(small, retries, tries=1, status="preempted") == small
    assert retrying.next_spec(large, retries, tries=2, status="preempted") == large


def test_both_machines_are_known_beforehand() -> None:
    spec = a_spec(gpus=1)

    assert [one.gpus for one in retrying.machines(spec, Retries(number=1, instead=LARGER))] == [
        1,
        2,
    ]
    assert list(retrying.machines(spec, Retries(number=1))) == [spec]
    assert list(retrying.machines(spec, None)) == [spec]


def test_the_user_is_told_which_attempt_it_is_and_why() -> None:
    retries = Retries(number=2, instead=LARGER)

    assert retrying.told(
        a_spec(name="exp_fit", tier="multi"), retries, tries=1, status="oom", why="full"
    ) == ("exp_fit: attempt 2 of 3 after oom, on multi (full)")
    assert retrying.told(a_spec(name="exp_fit"), retries, tries=2, status="preempted", why="") == (
        "exp_fit: attempt 3 of 3 after preempted"
    )
