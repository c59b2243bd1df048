"""A worker's process that is there before its session has decided."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_gpuexp import processes
from pytest_gpuexp.forerunner import MARK, Forerunner, WorkerProcess

ENVIRON = {**os.environ, "TOLD": "by the session"}


@pytest.fixture
def forerunner() -> Iterator[Forerunner]:
    made = Forerunner(ENVIRON)
    yield made
    made.dismiss()


@contextmanager
def taken(forerunner: Forerunner) -> Iterator[WorkerProcess]:
    worker = forerunner.take(ENVIRON)
    assert worker is not None
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()
        worker.channel.close()
        worker.output.close()


def test_its_process_is_taken_once_and_is_then_the_takers(forerunner: Forerunner) -> None:
    with taken(forerunner) as worker:
        assert forerunner.take(ENVIRON) is None
        forerunner.dismiss()
        assert worker.process.poll() is None

        worker.channel.close()
        assert worker.process.wait(20) == 1
        worker.output.seek(0)
        said = worker.output.read()

    assert said == b"pytest-gpuexp: the session that started this worker is gone.\n"


def test_who_would_start_it_with_another_environment_does_not_get_it(
    forerunner: Forerunner,
) -> None:
    before = set(processes.children())

    assert forerunner.take({**ENVIRON, "TOLD": "by a conftest"}) is None
    assert len(before - set(processes.children())) == 1  # it waits for nobody else


def test_one_that_has_ended_is_not_taken(forerunner: Forerunner) -> None:
    [pid] = {
        one
        for one in processes.children()
        if MARK.encode() in Path(f"/proc/{one}/environ").read_bytes()
    }
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert forerunner.take(ENVIRON) is None


def test_one_that_nobody_took_is_ended() -> None:
    before = set(processes.children())
    forerunner = Forerunner(ENVIRON)
    assert set(processes.children()) > before

    forerunner.dismiss()
    forerunner.dismiss()

    assert set(processes.children()) == before


def test_it_is_marked_as_a_worker_and_imports_with_one_thread(forerunner: Forerunner) -> None:
    with taken(forerunner) as worker:
        told = Path(f"/proc/{worker.process.pid}/environ").read_bytes().split(b"\0")

    assert {f"{MARK}=1".encode(), b"OMP_NUM_THREADS=1", b"TOLD=by the session"} <= set(told)
