"""What becomes of runs when their session, their snapshot or their storage is taken from them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.behaviour.sessions import Ended, ending, run, started, until

SLOW = '''
"""Runs that wait to be interrupted."""
import os, signal, subprocess, sys, time
from pathlib import Path
from pytest_gpuexp import experiment, seeds

pytestmark = experiment("slow", claim="Patience.")

@seeds(4)
def exp_waits(runner, seed):
    runner.log_metrics({"loss": 0.5}, step=seed)
    if seed == 1:
        if "STUBBORN" in os.environ:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stray = subprocess.Popen(["sleep", "300"], start_new_session=True)
        Path("stray").write_text(str(stray.pid))
    Path(f"began-{seed}").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    assert True
'''
CONFTEST = "import os; open('controller' if 'PYTEST_GPUEXP_WORKER' not in os.environ else " + (
    "'snapshot', 'w').write(str(os.getpid()))\n"
)


def project(folder: Path, text: str, name: str = "exp_slow.py") -> Path:
    (folder / name).write_text(text)
    (folder / "conftest.py").write_text(CONFTEST)
    return folder


def two_have_begun(folder: Path) -> bool:
    return len(list(folder.glob("began-*"))) == 2


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_session_ends_its_runs_and_records_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    folder = project(tmp_path, SLOW)
    changes = {"STUBBORN": "1"} if number == signal.SIGTERM else {}

    with started(folder, "exp_slow.py", "--parallelism=2", changes=changes) as process:
        until(lambda: two_have_begun(folder))
        process.send_signal(number)
        ended = ending(process, folder)

    assert ended.code == 2, ended.text
    assert "INTERNALERROR" not in ended.text
    assert "2 running experiments were ended" in ended.text
    for seed in range(2):
        record = ended.record(f"exp_waits[seed:{seed}]")
        assert record["status"] == "cancelled"
        assert record["metrics"] == {"loss": 0.5}
        assert record["error_message"] == "the run was ended by the session"
        assert record["provenance"]["host"]
    assert len(ended.record_files()) == 2
    assert is_gone(int((folder / "snapshot").read_text()))
    assert is_gone(int((folder / "stray").read_text()))


def test_runs_that_never_began_leave_no_trace_of_an_attempt(tmp_path: Path) -> None:
    folder = project(tmp_path, SLOW)

    with started(folder, "exp_slow.py", "--parallelism=2") as process:
        until(lambda: two_have_begun(folder))
        process.send_signal(signal.SIGINT)
        interrupted = ending(process, folder)
    (folder / "go").touch()
    again = run(folder, "exp_slow.py")

    assert interrupted.code == 2
    assert again.code == 0
    assert [one["attempt"] for one in again.records("exp_waits[seed:0]")] == [1, 2]
    assert [one["attempt"] for one in again.records("exp_waits[seed:3]")] == [1]


def test_runs_outlive_a_killed_session_and_their_records_are_on_disk(tmp_path: Path) -> None:
    folder = project(tmp_path, SLOW)

    with started(folder, "exp_slow.py", "--parallelism=2") as process:
        until(lambda: two_have_begun(folder))
        process.kill()
        process.wait()
        (folder / "go").touch()
        snapshot = int((folder / "snapshot").read_text())
        until(lambda: is_gone(snapshot))
    ended = Ended(code=0, text="", folder=folder)

    assert len(ended.record_files()) == 2
    for seed in range(2):
        record = ended.record(f"exp_waits[seed:{seed}]")
        assert (record["status"], record["verdict"]) == ("completed", "pass")
        assert record["metrics"] == {"loss": 0.5}
        assert record["provenance"]["command_line"].endswith("exp_slow.py --parallelism=2")


KILLER = '''
"""A run that kills the snapshot, among others."""
import os, signal, time
from pathlib import Path
import pytest
from pytest_gpuexp import experiment, seeds

pytestmark = experiment("killer", claim="Others go on.")

@seeds(6)
def exp_among_others(runner, seed):
    runner.log_metrics({"seed": seed})
    if seed == 0:
        Path("victim").touch()
        time.sleep(300)
    if seed == 1:
        while not Path("victim").exists():
            time.sleep(0.01)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(300)
    assert True
'''


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = project(tmp_path_factory.mktemp("killer"), KILLER, "exp_killer.py")
    return run(folder, "exp_killer.py", "--parallelism=2", "-v")


def test_runs_of_a_killed_snapshot_are_lost_and_say_so(killed: Ended) -> None:
    for seed in range(2):
        record = killed.record(f"exp_among_others[seed:{seed}]")

        assert record["status"] == "lost"
        assert record["metrics"] == {"seed": seed}
        assert (
            "the snapshot that supervised the run was killed from outside"
            in (record["error_message"])
        )
        assert record["provenance"]["host"]
    assert killed.code == 1
    assert "INTERNALERROR" not in killed.text


def test_a_session_goes_on_with_a_new_snapshot(killed: Ended) -> None:
    for seed in range(2, 6):
        attempts = killed.records(f"exp_among_others[seed:{seed}]")

        assert [(one["attempt"], one["status"]) for one in attempts] == [(1, "completed")]
    assert "4 passed, 2 errors" in killed.text


def test_a_snapshot_that_cannot_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    text = (
        "import os\n"
        "if 'PYTEST_GPUEXP_WORKER' in os.environ:\n"
        "    os.write(2, b'no driver for this\\n')\n"
        "    os._exit(9)\n"
    )
    folder = project(tmp_path, text + KILLER, "exp_killer.py")

    ended = run(folder, "exp_killer.py")

    assert ended.code not in (0, 3)
    assert "INTERNALERROR" not in ended.text
    assert "ended with code 9 before it could work" in ended.text
    assert "no driver for this" in ended.text


NESTED = '''
"""A run that starts pytest on its own file, which would go on for ever."""
import subprocess, sys
from pytest_gpuexp import experiment

pytestmark = experiment("nested", claim="One session is enough.")

def exp_nested(runner):
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    runner.results.save_artifact("inner.txt", done.stdout + done.stderr)
    runner.log_metrics({"code": done.returncode})
    assert done.returncode != 0
'''


def test_a_run_cannot_start_a_session_of_experiments(tmp_path: Path) -> None:
    folder = project(tmp_path, NESTED, "exp_nested.py")

    ended = run(folder, "exp_nested.py")

    inner = (ended.run_folder("exp_nested") / "artifacts" / "inner.txt").read_text()
    assert ended.record("exp_nested")["metrics"] == {"code": 4}
    assert len(ended.record_files()) == 1
    assert (
        "this process is a worker of another pytest-gpuexp session and would start workers of its "
        "own. Run pytest on experiments outside of a handler."
    ) in inner
    assert "INTERNALERROR" not in inner


QUICK = '''
"""Runs that are done at once."""
import resource, shutil
from pathlib import Path
from pytest_gpuexp import experiment, seeds

pytestmark = experiment("quick", claim="Soon over.")

@seeds(4)
def exp_quick(runner, seed):
    runner.log_metrics({"seed": seed})
    assert True

def exp_full_disk(runner):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
    for step in range(10_000):
        runner.log_metrics({"step": step})

def exp_full_disk_for_artifacts(runner):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
    runner.log_metrics({"first": 1.0})
    runner.results.save_artifact("big.bin", b"x" * (1 << 17))

def exp_no_records(runner):
    records = runner.folder.parents[2] / "records"
    shutil.rmtree(records, ignore_errors=True)
    records.write_text("in the way")
    runner.log_metrics({"kept": 3.0})
    assert True
'''


def test_a_storage_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    folder = project(tmp_path, QUICK, "exp_quick.py")
    (folder / "file").write_text("not a folder")

    ended = run(folder, "exp_quick.py", "--storage=file/results")

    assert ended.code == 4
    assert "INTERNALERROR" not in ended.text
    assert "could not be written: Not a directory." in ended.text
    assert "Make room or choose another folder with --storage." in ended.text


def test_a_full_disk_is_the_failure_of_the_run_that_met_it(tmp_path: Path) -> None:
    folder = project(tmp_path, QUICK, "exp_quick.py")

    ended = run(folder, "exp_quick.py", "-k", "full or seed:0")

    for name in ("exp_full_disk", "exp_full_disk_for_artifacts"):
        record = ended.record(name)
        assert record["status"] == "failed"
        assert "File too large" in record["error_message"]
    last = ended.record("exp_full_disk")["metrics"]["step"]
    points = (ended.run_folder("exp_full_disk") / "metrics.jsonl").read_bytes().splitlines()
    assert json.loads(points[last])["metrics"] == {"step": last}
    assert ended.record("exp_full_disk_for_artifacts")["metrics"] == {"first": 1.0}
    assert "artifacts" not in ended.record("exp_full_disk_for_artifacts")
    assert ended.record("exp_quick[seed:0]")["verdict"] == "pass"
    assert ended.code == 1


def test_a_run_whose_record_cannot_be_written_is_told_and_fails_the_session(
    tmp_path: Path,
) -> None:
    folder = project(tmp_path, QUICK, "exp_quick.py")

    ended = run(folder, "exp_quick.py", "-k", "no_records", "-v")

    assert ended.code == 1
    assert "INTERNALERROR" not in ended.text
    assert "[no record: " in ended.text
    assert "is not in the storage, so this session does not pass" in ended.text


def test_a_claim_names_the_snapshot_that_holds_it(killed: Ended) -> None:
    files = sorted(killed.folder.glob("results/killer/jobs/*.yaml"))
    claims: list[dict[str, Any]] = [yaml.safe_load(path.read_text()) for path in files]

    assert len(claims) == 6
    for claim in claims:
        pid, _, ticks = claim["handle"].partition(":")
        assert pid.isdigit()
        assert ticks.partition(":")[0].isdigit()
