"""Which sessions are at work on a storage, seen from the same machine and from others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_gpuexp import processes
from pytest_gpuexp.claims import Claim, Owner
from pytest_gpuexp.presence import FOLDER, Presence, make_owner, this_machine
from pytest_gpuexp.storage.local import LocalStorage


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "s")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mine(storage: LocalStorage, clock: Clock) -> Presence:
    return Presence(storage, owner=make_owner(), lease_seconds=60, clock=clock)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its input does."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def named(pid: int) -> str:
    return f"{pid}:{processes.start_time(pid)}"


def far(storage: LocalStorage, session: str = "far") -> Presence:
    owner = Owner(session=session, machine="another", process="1:1")
    return Presence(storage, owner=owner, lease_seconds=60)


def claim(owner: Owner, handle: str = "") -> Claim:
    return Claim(
        run_id="r",
        attempt=1,
        session=owner.session,
        machine=owner.machine,
        process=owner.process,
        handle=handle,
    )


def test_a_session_of_another_machine_is_there_while_its_signs_change(
    storage: LocalStorage, mine: Presence, clock: Clock
) -> None:
    other = far(storage)
    told = []

    for beat in range(3):
        other.beat(beat)
        told.append(mine.holds(claim(other.owner)))
        clock.now += 59
    told.append(mine.holds(claim(other.owner)))
    clock.now += 62
    told.append(mine.holds(claim(other.owner)))

    assert told == [True, True, True, True, False]
    assert list(storage.list(FOLDER)) == []


def test_a_clock_that_runs_differently_there_means_nothing(
    storage: LocalStorage, mine: Presence
) -> None:
    other = far(storage)
    other.beat(0)
    sign = storage.folder / FOLDER / "far.yaml"

    os.utime(sign, (0, 0))

    assert mine.holds(claim(other.owner))


def test_a_session_that_has_ended_is_gone_at_once(storage: LocalStorage, mine: Presence) -> None:
    other = far(storage)
    other.begin()
    other.end()

    assert not mine.holds(claim(other.owner))
    assert not mine.others()


def test_others_are_those_that_are_not_this_one(storage: LocalStorage, mine: Presence) -> None:
    mine.begin()
    alone = mine.others()
    far(storage).beat(0)
    in_company = mine.others()
    mine.end()

    assert (alone, in_company) == (False, True)


def test_signs_are_given_again_and_again(storage: LocalStorage) -> None:
    presence = Presence(storage, owner=make_owner(), lease_seconds=0.02)
    presence.begin()
    sign = f"{FOLDER}/{presence.owner.session}.yaml"
    first = storage.read(sign)
    while storage.read(sign) == first:
        pass
    presence.end()

    assert not storage.exists(sign)


def test_on_this_machine_the_process_counts_and_not_its_silence(
    storage: LocalStorage, mine: Presence, clock: Clock, process: subprocess.Popen[bytes]
) -> None:
    owner = Owner(session="near", machine=this_machine(), process=named(process.pid))
    Presence(storage, owner=owner, lease_seconds=60).beat(0)
    before = mine.is_at_work(claim(owner))
    clock.now += 1000
    silent = mine.is_at_work(claim(owner))
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    clock.now += 1

    assert (before, silent, mine.is_at_work(claim(owner))) == (True, True, False)


def test_what_outlives_its_session_is_still_held(
    mine: Presence, process: subprocess.Popen[bytes]
) -> None:
    dead = Owner(session="dead", machine=this_machine(), process="1:1")
    alive = claim(dead, handle=named(process.pid))

    assert mine.holds(alive)
    assert not mine.is_at_work(alive)
    process.kill()
    process.wait()
    assert not mine.holds(alive)


def test_a_process_that_outlives_its_session_holds_nothing(
    storage: LocalStorage, mine: Presence
) -> None:
    other = Presence(storage, owner=make_owner(), lease_seconds=60)
    other.begin()
    other.end()

    assert not mine.holds(claim(other.owner))


@pytest.mark.parametrize("handle", ["", "4711", ":", "x:1", "1:1", "call-abc"])
def test_another_process_of_the_same_pid_and_other_handles_hold_nothing(
    mine: Presence, handle: str
) -> None:
    assert not mine.holds(claim(Owner(), handle))


def test_claims_of_an_older_version_are_held_by_their_snapshot(
    mine: Presence, process: subprocess.Popen[bytes]
) -> None:
    assert mine.holds(claim(Owner(), named(process.pid)))


def test_signs_of_killed_sessions_of_this_machine_are_cleared(
    storage: LocalStorage, mine: Presence
) -> None:
    dead = Owner(session="dead", machine=this_machine(), process="1:1")
    Presence(storage, owner=dead, lease_seconds=60).beat(0)
    far(storage).beat(0)
    storage.write(f"{FOLDER}/torn.yaml", b"{")
    mine.begin()
    left = sorted(storage.list(FOLDER))
    mine.end()

    named = [f"{FOLDER}/{name}.yaml" for name in ("far", "torn", mine.owner.session)]
    assert left == sorted(named)
