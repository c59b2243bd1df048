"""Keeps a bounded number of attempts in a backend's hands until all have ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.dispatch import Dispatch
from pytest_gpuexp.records import Attempt, ExperimentResult, Job, Outcome, RunSpec


def attempt(number: int) -> Attempt:
    spec = RunSpec(
        experiment_id="e",
        handler="exp_one",
        function="exp_one",
        path="exp_e.py",
        name=f"exp_one[seed:{number}]",
        parameters={},
        seed=number,
        run_id=f"run-{number}",
    )
    return Attempt(spec=spec, number=1)


def outcome(key: str, status: str = "completed") -> Outcome:
    return Outcome(
        result=ExperimentResult(
            experiment_id="e",
            run_id=key.rpartition(".")[0],
            attempt=1,
            handler="exp_one",
            name=key,
            path="exp_e.py",
            status=status,  # type: ignore[arg-type]
            verdict="not_evaluated",
            config={},
            parameters={},
            seed=0,
        )
    )


class Shop:
    """A backend that ends as many jobs a poll as its plan says; it never holds more than told."""

    name = "shop"
    handle = ""

    def __init__(self, plan: Iterator[int], lookahead: int = 0) -> None:
        self.submitted: list[str] = []
        self._asked = 0
        self.lookahead = lookahead
        self.most = 0
        self.cancelled: list[str] = []
        self._plan = plan
        self._held: list[Job] = []

    def submit(self, attempt: Attempt) -> Job:
        job = Job(key=attempt.key, backend=self.name, handle="")
        self._held.append(job)
        self.submitted.append(attempt.key)
        self.most = max(self.most, len(self._held))
        return job

    def poll(self, jobs: Collection[Job], *, timeout: float) -> dict[Job, Outcome]:
        assert set(jobs) == set(self._held)
        count = next(self._plan, len(self._held))
        ended, self._held = self._held[:count], self._held[count:]
        status = "cancelled" if self.cancelled else "completed"
        return {job: outcome(job.key, status) for job in ended}

    def handles(self) -> Mapping[str, str]:
        """Know the handle of an attempt one call late."""
        before, self._asked = self._asked, len(self.submitted)
        return {key: f"fc-{key}" for key in self.submitted[before : self._asked]}

    def running(self) -> Mapping[str, float]:
        return {}

    def cancel(self, jobs: Collection[Job]) -> None:
        self.cancelled += [job.key for job in jobs]

    def close(self) -> None: ...


@given(
    attempts=st.integers(0, 30),
    parallelism=st.integers(1, 5),
    lookahead=st.integers(0, 3),
    plan=st.lists(st.integers(0, 4), max_size=40),
)
def test_every_attempt_ends_once_and_never_too_many_are_in_flight(
    attempts: int, parallelism: int, lookahead: int, plan: list[int]
) -> None:
    shop = Shop(iter(plan), lookahead)
    handles: dict[str, str] = {}
    dispatch = Dispatch(
        shop,
        parallelism=parallelism,
        on_handle=lambda one, handle: handles.update({one.key: handle}),
    )

    ended = [
        one.key
        for batch in dispatch.run(attempt(number) for number in range(attempts))
        for one, _ in batch
    ]

    expected = [f"run-{number}.1" for number in range(attempts)]
    assert shop.submitted == expected
    assert handles == {key: f"fc-{key}" for key in expected}
    assert sorted(ended) == sorted(expected)
    assert shop.most <= parallelism + lookahead
    assert not dispatch.flying


def test_an_attempt_is_claimed_when_its_turn_has_come() -> None:
    claimed: list[int] = []

    def attempts() -> Iterator[Attempt]:
        for number in range(10):
            claimed.append(number)
            yield attempt(number)

    dispatch = Dispatch(Shop(iter([1, 1])), parallelism=2, on_handle=lambda one, handle: None)
    ended = dispatch.run(attempts())

    next(ended)

    assert claimed == [0, 1]


def test_cancelling_ends_what_is_in_flight_and_says_how() -> None:
    shop = Shop(iter([1, 0, 2]))
    dispatch = Dispatch(shop, parallelism=3, on_handle=lambda one, handle: None)
    next(dispatch.run(attempt(number) for number in range(10)))

    ended = dispatch.cancel()

    assert shop.cancelled == ["run-1.1", "run-2.1"]
    assert [(one.key, end.result.status) for one, end in ended] == [
        ("run-1.1", "cancelled"),
        ("run-2.1", "cancelled"),
    ]


def test_cancelling_lasts_as_long_as_told_however_often_something_ends() -> None:
    shop, now = Shop(iter([0, *[1, 0] * 20])), [0.0]

    def clock() -> float:
        now[0] += 0.01  # each end comes at once
        return now[0]

    dispatch = Dispatch(
        shop, parallelism=20, on_handle=lambda one, handle: None, cancel_seconds=1.0, clock=clock
    )
    next(dispatch.run(attempt(number) for number in range(20)))

    ended = dispatch.cancel()

    assert len(ended) == 20


def test_cancelling_leaves_what_does_not_end_in_time() -> None:
    shop, seconds = Shop(iter([0] * 100)), iter(range(100))
    dispatch = Dispatch(
        shop,
        parallelism=2,
        on_handle=lambda one, handle: None,
        cancel_seconds=5.0,
        clock=lambda: float(next(seconds)),
    )
    next(dispatch.run(attempt(number) for number in range(2)))

    assert dispatch.cancel() == []
    assert [one.key for one in dispatch.flying.values()] == ["run-0.1", "run-1.1"]
    assert next(seconds) == 6


def test_cancelling_nothing_returns_at_once() -> None:
    dispatch = Dispatch(Shop(iter([])), parallelism=3, on_handle=lambda one, handle: None)

    assert dispatch.cancel() == []


@given(
    attempts=st.integers(1, 20),
    parallelism=st.integers(1, 4),
    plan=st.lists(st.integers(0, 4), max_size=40),
    again=st.sets(st.integers(0, 19)),
)
def test_a_further_attempt_takes_the_place_of_the_one_that_ended(
    attempts: int, parallelism: int, plan: list[int], again: set[int]
) -> None:
    shop = Shop(iter(plan))
    dispatch = Dispatch(shop, parallelism=parallelism, on_handle=lambda one, handle: None)
    ended: list[str] = []

    for batch in dispatch.run(attempt(number) for number in range(attempts)):
        for one, _ in batch:
            ended.append(one.key)
            if one.number == 1 and one.spec.seed in again:
                dispatch.submit(dataclasses.replace(one, number=2))

    retried = [f"run-{number}.2" for number in sorted(again) if number < attempts]
    assert sorted(ended) == sorted([f"run-{number}.1" for number in range(attempts)] + retried)
    assert shop.most <= parallelism
