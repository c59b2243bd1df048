"""Which attempts of other sessions still are on their way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pytest_gpuexp import processes
from pytest_gpuexp.survivors import outwait, surviving


@pytest.fixture
def snapshot() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its input does."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def handle(pid: int) -> str:
    return f"{pid}:{processes.start_time(pid)}"


def test_a_snapshot_that_lives_survives(snapshot: subprocess.Popen[bytes]) -> None:
    alive = handle(snapshot.pid)

    assert surviving([alive, alive]) == {alive}


@pytest.mark.parametrize("lost", ["", "4711", ":", "x:1", "1:1", "call-abc"])
def test_another_process_of_the_same_pid_and_other_handles_do_not(lost: str) -> None:
    assert surviving([lost]) == set()


def test_a_process_that_was_never_reaped_has_ended(snapshot: subprocess.Popen[bytes]) -> None:
    alive = handle(snapshot.pid)
    snapshot.kill()
    os.waitid(os.P_PID, snapshot.pid, os.WEXITED | os.WNOWAIT)

    assert surviving([alive]) == set()


def test_the_wait_ends_with_the_last_of_them(snapshot: subprocess.Popen[bytes]) -> None:
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            snapshot.kill()
            snapshot.wait()

    outwait({handle(snapshot.pid)}, sleep=sleep, every=0.5)

    assert slept == [0.5, 0.5]
