"""A handler that looks is asked before it is ended; one that does not is ended as ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from pytest_gpuexp.records import Status
from pytest_gpuexp.stopping import Stopping

Make = Callable[..., Stopping]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Stopping] = []

    def one(**changes: Callable[..., object]) -> Stopping:
        made.append(Stopping(**changes))  # type: ignore[arg-type]
        return made[-1]

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    yield one
    for stopping in made:
        stopping.release()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_nothing_changes_before_the_first_look(make: Make) -> None:
    before = signal.getsignal(signal.SIGTERM)

    make()

    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGTERM, "preempted"), (signal.SIGINT, "cancelled")]
)
def test_a_signal_from_outside_asks_and_is_told(
    make: Make, number: signal.Signals, reason: Status
) -> None:
    told: list[Status] = []
    stopping = make(on_signal=told.append)

    first = stopping.look()
    os.kill(os.getpid(), number)

    assert not first
    assert stopping.reason == reason
    assert told == [reason]
    assert stopping.look()


def test_whoever_gives_a_reason_is_believed(make: Make) -> None:
    told: list[Status] = []
    stopping = make(why=lambda: "timeout", on_signal=told.append)
    stopping.look()

    os.kill(os.getpid(), signal.SIGTERM)

    assert stopping.reason == "timeout"
    assert told == []


def test_a_second_sigterm_does_not_cut_the_grace_short(make: Make) -> None:
    stopping = make()
    stopping.look()

    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)

    assert stopping.reason == "preempted"


def test_a_second_ctrl_c_interrupts(make: Make) -> None:
    stopping = make()
    stopping.look()

    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_only_who_has_seen_the_request_left_early(make: Make) -> None:
    stopping = make()
    stopping.look()
    os.kill(os.getpid(), signal.SIGTERM)

    assert not stopping.heeded("completed")
    assert stopping.heeded("failed")
    stopping.look()
    assert stopping.heeded("completed")


def test_a_process_that_the_handler_forks_is_ended_as_ever(make: Make) -> None:
    stopping = make()
    stopping.look()

    pid = os.fork()
    if not pid:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(7)
    _, waitstatus = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(waitstatus) == -signal.SIGTERM
    assert stopping.reason is None
