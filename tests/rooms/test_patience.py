from __future__ import annotations

import pytest

from pytest_gpuexp.storage.patience import Patience


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


class Server:
    """Fails ``failures`` times, or for ever."""

    def __init__(self, failures: int | None) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.failures is None or self.calls <= self.failures:
            raise ConnectionError(f"failure {self.calls}")
        return "answer"


def patience(clock: Clock, seconds: float = 60.0) -> Patience:
    return Patience(seconds, clock=lambda: clock.now, sleep=clock.sleep, jitter=lambda: 1.0)


def test_a_failure_that_passes_is_asked_again_with_growing_waits() -> None:
    clock, server = Clock(), Server(7)

    answer = patience(clock).call(server, passing=lambda error: True)

    assert answer == "answer"
    assert clock.sleeps == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


def test_a_failure_that_stays_is_told_at_once() -> None:
    clock, server = Clock(), Server(None)

    with pytest.raises(ConnectionError, match="failure 1"):
        patience(clock).call(server, passing=lambda error: False)

    assert clock.sleeps == []


def test_it_gives_up_at_the_deadline() -> None:
    clock = Clock()

    with pytest.raises(ConnectionError):
        patience(clock).call(Server(None), passing=lambda error: True)

    assert 50 < clock.now <= 60


def test_once_given_up_it_asks_once_until_something_succeeds() -> None:
    clock = Clock()
    one = patience(clock)
    with pytest.raises(ConnectionError):
        one.call(Server(None), passing=lambda error: True)
    clock.sleeps.clear()

    with pytest.raises(ConnectionError):
        one.call(Server(1), passing=lambda error: True)
    assert clock.sleeps == []

    one.call(Server(0), passing=lambda error: True)
    assert one.call(Server(2), passing=lambda error: True) == "answer"
    assert len(clock.sleeps) == 2


def test_it_can_be_told_to_lose_patience() -> None:
    clock = Clock()
    one = patience(clock)
    one.lose()

    with pytest.raises(ConnectionError):
        one.call(Server(1), passing=lambda error: True)

    assert clock.sleeps == []


def test_a_long_wait_is_told_once_and_the_next_one_again() -> None:
    clock, told = Clock(), list[str]()
    patient = Patience(
        60.0,
        clock=lambda: clock.now,
        sleep=clock.sleep,
        jitter=lambda: 1.0,
        on_wait=lambda error: told.append(str(error)),
    )

    patient.call(Server(3), passing=lambda error: True)
    shortly = list(told)
    patient.call(Server(7), passing=lambda error: True)
    patient.call(Server(5), passing=lambda error: True)

    assert shortly == []
    assert told == ["failure 4", "failure 4"]
