"""What crashed or was killed is run again; what outlives its session is waited for."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.behaviour import sessions
from tests.behaviour.sessions import Ended, ran

LONG = """
    import time
    from pathlib import Path

    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("long")

    @seeds(8)
    def exp_long(runner, seed):
        with open("ran.txt", "a") as file:
            file.write(f"{seed}\\n")
        while seed >= 3 and not Path("go").exists():
            time.sleep(0.01)
        assert True
"""
WATCHED = """
    import os

    with open("snapshot" if "PYTEST_GPUEXP_WORKER" in os.environ else "controller", "w") as file:
        file.write(str(os.getpid()))
"""


def test_after_a_kill_each_run_is_executed_exactly_once(tmp_path: Path) -> None:
    folder = sessions.write(tmp_path, exp_long=LONG, conftest=WATCHED)
    with sessions.started(folder, "--parallelism=2") as process:
        sessions.until(lambda: len(began(folder)) >= 5)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        (folder / "go").touch()
        snapshot = int((folder / "snapshot").read_text())
        sessions.until(lambda: is_gone(snapshot))
    recorded = len(Ended(code=0, text="", folder=folder).record_files())

    again = sessions.run(folder, "--resume")

    assert 5 <= recorded < 8
    assert f"resume: {recorded} of 8 runs kept" in again.text
    assert Counter(began(folder)) == {str(seed): 1 for seed in range(8)}
    assert "8 passed" in again.text
    assert again.code == 0


def test_what_outlives_a_killed_session_is_waited_for_and_never_run_twice(tmp_path: Path) -> None:
    folder = sessions.write(tmp_path, exp_long=LONG, conftest=WATCHED)
    with sessions.started(folder, "--parallelism=2") as process:
        sessions.until(lambda: len(began(folder)) >= 5)
        os.kill(process.pid, signal.SIGKILL)

    with sessions.started(folder, "--resume", changes={"PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout is not None
        told: list[str] = []
        while "are with another session, or outlived it" not in "".join(told[-1:]):
            told.append(next(process.stdout).decode())
            if "to run" in told[-1]:
                (folder / "go").touch()
        again = sessions.ending(process, folder)

    planned = "".join(told)
    assert re.search(r"resume: 3 of 8 runs kept, [345] running, [012] to run\n", planned), planned
    assert re.search(r"  [345] running: local \d+:\d+\n", planned), planned
    assert Counter(began(folder)) == {str(seed): 1 for seed in range(8)}
    assert "8 passed" in again.text
    assert again.code == 0


def began(folder: Path) -> list[str]:
    file = folder / "ran.txt"
    return file.read_text().split() if file.exists() else []


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_an_interrupted_run_is_run_again_as_cancelled(tmp_path: Path) -> None:
    folder = sessions.write(tmp_path, exp_long=LONG, conftest=WATCHED)
    with sessions.started(folder, "--parallelism=2") as process:
        sessions.until(lambda: len(began(folder)) >= 5)
        process.send_signal(signal.SIGINT)
        sessions.ending(process, folder)
    (folder / "go").touch()

    again = sessions.run(folder, "--resume")

    assert "resume: 3 of 8 runs kept, 5 to run" in again.text
    assert "  2 cancelled before\n" in again.text
    # What was claimed in that very moment, and never begun, is told as lost.
    assert "  3 new\n" in again.text or "  2 new\n  1 lost before\n" in again.text, again.text
    assert again.code == 0


def test_no_worker_starts_where_nothing_is_to_be_run(tmp_path: Path) -> None:
    folder = sessions.write(tmp_path, exp_crashing=CRASHING, conftest=WATCHED)
    sessions.run(folder)
    (folder / "snapshot").unlink()

    sessions.run(folder, "--resume", "--rerun=stale")

    assert (folder / "controller").exists()
    assert not (folder / "snapshot").exists()


CRASHING = """
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("crashing")

    @seeds(3)
    def exp_crash(runner, seed):
        with open("ran.txt", "a") as file:
            file.write(f"{seed}\\n")
        assert seed < 2
        if seed == 1:
            raise ValueError("broken")
"""


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one of three runs has crashed and one has failed, to be copied."""
    folder = sessions.write(tmp_path_factory.mktemp("crashed"), exp_crashing=CRASHING)
    sessions.run(folder)
    assert ran(folder) == ["0", "1", "2"]
    return folder


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["1"]),
        (("--rerun=failed",), ["1"]),
        (("--rerun=stale",), []),
        (("--rerun=all",), ["0", "1", "2"]),
    ],
)
def test_crashes_run_again_and_rerun_says_what_else(
    crashed: Path, tmp_path: Path, arguments: tuple[str, ...], expected: list[str]
) -> None:
    shutil.copytree(crashed, tmp_path, dirs_exist_ok=True)

    again = sessions.run(tmp_path, "--resume", *arguments)

    assert ran(tmp_path) == expected
    assert "1 failed, 1 passed, 1 error" in again.text
    assert ("1 failed before" in again.text) == (expected == ["1"])
    assert again.code == 1


def test_rerun_failed_keeps_what_is_stale(crashed: Path, tmp_path: Path) -> None:
    shutil.copytree(crashed, tmp_path, dirs_exist_ok=True)
    sessions.write(tmp_path, exp_crashing=CRASHING.replace("broken", "still broken"))

    sessions.run(tmp_path, "--resume", "--rerun=failed")
    failed = ran(tmp_path)
    sessions.run(tmp_path, "--resume", "--rerun=stale")

    assert failed == ["1"]
    assert ran(tmp_path) == ["0", "2"]
