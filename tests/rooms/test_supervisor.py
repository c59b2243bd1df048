"""Keeping children at work, and seeing to how each of them ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp.wire import Channel, Message
from tests.rooms import supervisor_host

_SECONDS = 30


class Bench:
    """A supervisor in a process of its own, and we its controller."""

    def __init__(self, folder: Path, parallelism: int, gpus: int) -> None:
        ours, theirs = socket.socketpair()
        self.folder = folder
        self.control = Channel(ours)
        self.seen: list[Message] = []
        ours.settimeout(_SECONDS)
        words = [str(theirs.fileno()), str(parallelism), str(gpus), str(folder)]
        self.process = subprocess.Popen(
            [sys.executable, supervisor_host.__file__, *words], pass_fds=[theirs.fileno()]
        )
        theirs.close()

    def run(self, job: str, do: str, *, gpus: int = 0, timeout: float | None = None) -> None:
        spec: dict[str, Any] = {
            "timeout_seconds": timeout,
            "path": "exp_a.py",
            "function": "exp_a",
            "parameters": {},
        }
        self.control.send(
            {"op": "run", "job": job, "do": do, "gpus": gpus, "attempt": {"spec": spec}}
        )

    def until(self, condition: Callable[[Message], bool]) -> Message:
        """Return the next message that is meant."""
        while True:
            message = self.control.wait()
            assert message is not None, f"the supervisor left after {self.seen}"
            self.seen.append(message)
            if condition(message):
                return message

    def done(self, *jobs: str) -> dict[str, Message]:
        """Wait for ``jobs`` and return their outcomes."""
        outcomes: dict[str, Message] = {}
        while set(jobs) - outcomes.keys():
            message = self.until(lambda told: "done" in told)
            assert message["done"] not in outcomes, "told twice"
            outcomes[message["done"]] = message["outcome"]
        return outcomes

    def close(self) -> None:
        """End the supervisor, and wait for its end."""
        self.control.send({"op": "close"})
        try:
            assert self.process.wait(_SECONDS) == 0
        finally:
            self.process.kill()
            self.control.close()


@contextmanager
def a_bench(folder: Path, *, parallelism: int, gpus: int = 0) -> Iterator[Bench]:
    made = Bench(folder, parallelism, gpus)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Two runs at a time."""
    with a_bench(tmp_path, parallelism=2) as made:
        yield made


@pytest.fixture
def one_at_a_time(tmp_path: Path) -> Iterator[Bench]:
    """One run at a time."""
    with a_bench(tmp_path, parallelism=1) as made:
        yield made


@pytest.fixture
def with_gpus(tmp_path: Path) -> Iterator[Bench]:
    """Three runs at a time, and two GPUs."""
    with a_bench(tmp_path, parallelism=3, gpus=2) as made:
        yield made


def test_each_run_has_a_process_and_its_outcome_is_told_once(bench: Bench) -> None:
    for number in range(5):
        bench.run(f"j{number}", "twice")

    outcomes = bench.done("j0", "j1", "j2", "j3", "j4")

    assert {outcome["of"] for outcome in outcomes.values()} == set(outcomes)
    pids = [message["pid"] for message in bench.seen if "started" in message]
    assert len(set(pids)) == 5


def test_no_more_run_at_once_than_were_asked_for(bench: Bench) -> None:
    for number in range(6):
        bench.run(f"j{number}", "tarry")

    bench.done(*(f"j{number}" for number in range(6)))

    running, most = 0, 0
    for message in bench.seen:
        running += ("started" in message) - ("done" in message)
        most = max(most, running)
    assert most == 2


def test_who_died_is_spoken_for(bench: Bench) -> None:
    bench.run("j0", "die")
    bench.run("j1", "exit")

    outcomes = bench.done("j0", "j1")

    assert outcomes["j0"] == {
        "died": signal.SIGSEGV,
        "killed_for": None,
        "started": 1000.0,
        "on": [],
    }
    assert outcomes["j1"]["died"] == 3 << 8


def test_a_run_beyond_its_time_is_asked_and_then_killed(bench: Bench) -> None:
    bench.run("j0", "hang", timeout=0.5)
    bench.run("j1", "ignore", timeout=0.5)

    outcomes = bench.done("j0", "j1")

    assert outcomes["j0"]["died"] == signal.SIGTERM
    assert outcomes["j1"]["died"] == signal.SIGKILL
    assert {outcome["killed_for"] for outcome in outcomes.values()} == {"timeout"}


def test_gpus_go_from_run_to_run_and_come_back_after_a_death(with_gpus: Bench) -> None:
    with_gpus.run("j0", "die", gpus=1)
    with_gpus.run("j1", "tarry", gpus=2)
    with_gpus.run("j2", "tarry", gpus=1)
    with_gpus.run("j3", "hang", gpus=2, timeout=0.5)
    with_gpus.run("j4", "report", gpus=2)

    outcomes = with_gpus.done("j0", "j1", "j2", "j3", "j4")
    with_gpus.run("j5", "report", gpus=2)
    after = with_gpus.done("j5")["j5"]

    assert outcomes["j0"]["on"] == ["0"]
    assert sorted(outcomes["j1"]["on"]) == sorted(outcomes["j4"]["on"]) == ["0", "1"]
    assert sorted(after["on"]) == ["0", "1"]


def test_a_cancelled_run_is_ended_and_one_that_waits_is_withdrawn(one_at_a_time: Bench) -> None:
    one_at_a_time.run("j0", "hang")
    one_at_a_time.run("j1", "hang")
    one_at_a_time.until(lambda told: told.get("started") == "j0")

    one_at_a_time.control.send({"op": "cancel", "jobs": ["j0", "j1"]})
    withdrawn = one_at_a_time.until(lambda told: "withdrawn" in told)
    outcome = one_at_a_time.done("j0")["j0"]

    assert withdrawn == {"withdrawn": "j1"}
    assert outcome["killed_for"] == "cancelled"


def test_a_run_that_has_reported_but_does_not_leave_holds_up_nobody(one_at_a_time: Bench) -> None:
    one_at_a_time.run("j0", "linger")
    one_at_a_time.run("j1", "report")

    outcomes = one_at_a_time.done("j0", "j1")
    os.kill(next(told["pid"] for told in one_at_a_time.seen if "started" in told), signal.SIGKILL)

    assert outcomes["j0"] == {"of": "j0", "on": []}
    assert list(one_at_a_time.folder.iterdir()) == []


def test_a_run_whose_result_is_still_being_written_holds_up_nobody(one_at_a_time: Bench) -> None:
    one_at_a_time.run("j0", "commit")
    one_at_a_time.run("j1", "report")

    one_at_a_time.done("j1")
    one_at_a_time.control.send({"op": "cancel", "jobs": ["j0"]})

    assert one_at_a_time.done("j0")["j0"]["killed_for"] == "cancelled"


def test_a_time_limit_ends_with_the_handler(bench: Bench) -> None:
    bench.run("j0", "commit", timeout=0.2)
    bench.run("j1", "hang", timeout=0.5)

    first = bench.done("j1")
    bench.control.send({"op": "cancel", "jobs": ["j0"]})
    outcome = bench.done("j0")["j0"]

    assert list(first) == ["j1"]
    assert (outcome["died"], outcome["killed_for"]) == (signal.SIGKILL, "cancelled")


def test_no_more_results_are_written_at_once_than_may_run(one_at_a_time: Bench) -> None:
    for job, do in (("j0", "commit"), ("j1", "commit"), ("j2", "report")):
        one_at_a_time.run(job, do)
    one_at_a_time.until(lambda told: told.get("started") == "j1")

    one_at_a_time.control.send({"op": "cancel", "jobs": ["j0"]})
    one_at_a_time.done("j0", "j2")
    started = [told["started"] for told in one_at_a_time.seen if "started" in told]
    ended = [told["done"] for told in one_at_a_time.seen if "done" in told]
    one_at_a_time.control.send({"op": "cancel", "jobs": ["j1"]})

    assert (started, ended) == (["j0", "j1", "j2"], ["j0", "j2"])


def test_a_spare_that_was_killed_costs_no_run(one_at_a_time: Bench) -> None:
    one_at_a_time.run("j0", "tarry")
    one_at_a_time.until(lambda told: "started" in told)
    spare = one_at_a_time.until(lambda told: "launched" in told)["launched"]

    os.kill(spare, signal.SIGKILL)
    one_at_a_time.until(lambda told: "launched" in told)  # another takes its place
    one_at_a_time.run("j1", "report")

    assert one_at_a_time.done("j0", "j1")["j1"]["of"] == "j1"


def test_what_a_run_leaves_behind_is_ended_with_it(bench: Bench) -> None:
    bench.run("j0", "daemon")

    bench.done("j0")  # and the guard of this suite looks for what is left


def test_orders_are_passed_on_in_their_turn(bench: Bench) -> None:
    bench.control.send({"op": "collect", "path": "exp_a.py"})
    bench.run("j0", "report")

    bench.done("j0")

    assert {"order": "collect", "free": []} in bench.seen


def test_without_a_controller_runs_end_and_then_the_supervisor(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 2, 0)
    bench.run("j0", "tarry")
    bench.run("j1", "hang", timeout=0.5)
    bench.until(lambda told: told.get("started") == "j1")
    bench.run("j2", "die")

    bench.control.close()
    code = bench.process.wait(_SECONDS)

    assert code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["j1"]
