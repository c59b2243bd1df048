"""What every test of the suite can rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests import measuring, process_watch, servers

pytest_plugins = ["pytester"]

# A worker that takes itself for a controller starts workers of its own, and so on: a fork bomb.
MOST_PROCESSES = 60
_GOING_SECONDS = 3.0
LONGEST = {
    "test_docs.py",
    "test_kills.py",
    "test_failures.py",
    "test_modal_app.py",
    "test_modal_commands.py",
    "test_resume.py",
    "test_resume_after_failures.py",
    "test_runs.py",
    "test_taking_over.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: begun last, each would be waited for alone."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure the processes of a test where they are to be; fixtures go with their first test."""
    test = getattr(item, "originalname", item.name)
    with measuring.following(wanted=measuring.is_measured(item.path, test)):
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def hangups_are_heard() -> None:
    """Let sessions hear a SIGHUP also where the suite itself was started by nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def sessions_have_a_place(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the folders of the sessions that are started apart: each looks through all of them."""
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(tmp_path_factory.mktemp("sessions"))


@pytest.fixture(scope="session", autouse=True)
def watch_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Watch the session's processes from outside; give the mark they bear and the watch's file."""
    mark, file = f"{os.getpid()}-{time.time_ns()}", tmp_path_factory.mktemp("watch") / "excess"
    os.environ[process_watch.MARK] = mark
    words = [mark, str(os.getpid()), str(MOST_PROCESSES), str(file)]
    watch = subprocess.Popen(
        [sys.executable, "-S", "-E", process_watch.__file__, *words], start_new_session=True
    )

    yield mark, file

    watch.kill()
    watch.wait()
    del os.environ[process_watch.MARK]


@pytest.fixture(scope="session")
def watch(watch_file: tuple[str, Path]) -> process_watch.ProcessWatch:
    """Tell which processes the session has started, its own watch left out."""
    return process_watch.ProcessWatch(watch_file[0], os.getpid())


@pytest.fixture(autouse=True)
def process_guard(
    watch_file: tuple[str, Path], watch: process_watch.ProcessWatch
) -> Iterator[None]:
    """Fail a test that leaves processes behind, or ever had far too many (see MOST_PROCESSES)."""
    before = watch.alive()

    yield

    deadline = time.monotonic() + _GOING_SECONDS
    while (left := watch.alive() - before - servers.running()) and time.monotonic() < deadline:
        time.sleep(0.02)  # what was told to end may take a moment
    process_watch.end(left)
    excess = watch_file[1]
    most = excess.read_text() if excess.exists() else ""
    excess.unlink(missing_ok=True)
    assert not most, f"the test had {most} processes at once, over {MOST_PROCESSES}"
    assert not left, f"the test left {len(left)} processes behind: {sorted(left)}"


@pytest.fixture(scope="session")
def moto() -> Iterator[servers.Server]:
    """Give moto's S3 server: quick, and blind to wrong keys."""
    with servers.moto() as server:
        yield server


@pytest.fixture(scope="session")
def seaweed() -> Iterator[servers.Server]:
    """Give SeaweedFS, which knows wrong keys."""
    with servers.seaweed() as server:
        yield server
