"""A handler that crashes, leaves, forks, hangs on or fills the disk costs its own run alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.behaviour.sessions import Ended, run

EXPERIMENT = '''
"""Handlers that do what handlers should not."""
import ctypes, os, signal, subprocess, sys, threading, time
import pytest
from pytest_gpuexp import experiment

pytestmark = experiment("crashes", claim="A crash is one run's own.")

def exp_segfault(runner):
    runner.log_metrics({"before": 1.5})
    ctypes.string_at(0)

def exp_abort(runner):
    os.abort()

def exp_killed(runner):
    runner.log_metrics({"before": 2.5})
    os.kill(os.getpid(), signal.SIGKILL)

def exp_group_killed(runner):
    os.killpg(0, signal.SIGTERM)
    time.sleep(30)

def exp_memory(runner):
    raise MemoryError("the host has no more")

class OutOfMemoryError(RuntimeError):
    pass

def exp_cuda_memory(runner):
    runner.log_metrics({"loss": 0.5})
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

def exp_large_array(runner):
    bytearray(1 << 60)

def exp_torch_like_memory(runner):
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")

def exp_leaves(runner):
    runner.log_metrics({"before": 3.5})
    print("last words")
    sys.stdout.flush()
    os._exit(3)

def exp_leaves_with_zero(runner):
    os._exit(0)

def exp_sys_exit(runner):
    sys.exit("I am done")

def exp_pytest_exit(runner):
    runner.log_metrics({"before": 4.5})
    pytest.exit("all of you")

def exp_closes_everything(runner):
    runner.log_metrics({"before": 5.5})
    os.closerange(0, 1024)
    assert 1 + 1 == 2

def exp_closes_everything_and_fails(runner):
    os.closerange(0, 1024)
    assert 1 + 1 == 3

def exp_closes_stdout(runner):
    sys.stdout.close()
    os.close(1)
    assert 1 + 1 == 2

def exp_returns_twice(runner):
    runner.results.save_artifact("pid.txt", str(os.getpid()))
    if not os.fork():
        return {"finding": "the child"}
    time.sleep(0.2)
    return {"finding": "the parent"}

def exp_raises_twice(runner):
    os.fork()
    raise ValueError("from both")

def exp_child_exits_late(runner):
    if not os.fork():
        time.sleep(60)
    assert True

def exp_threads(runner):
    for _ in range(4):
        threading.Thread(target=time.sleep, args=(60,)).start()
    assert threading.active_count() == 5

def exp_daemon(runner):
    leave = "if os.fork(): os._exit(0)"
    code = f"import os, time\\n{leave}\\nos.setsid()\\n{leave}\\n"
    code += "print(os.getpid(), flush=True)\\ntime.sleep(60)"
    out = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    runner.results.save_artifact("daemon.txt", out.stdout.readline())
    assert True

def exp_loud(runner):
    block = b"x" * 99 + b"\\n"
    for _ in range(200):
        os.write(1, block * 1000)
    print("the very end")
    raise ValueError("too loud")

def exp_unprintable(runner):
    os.write(2, b"\\xff\\xfe\\x00 bytes of no encoding\\n")
    raise ValueError("\\udcff and \\x00")

def exp_recursion(runner):
    def again():
        again()
    again()

class Strange(Exception):
    def __str__(self):
        raise RuntimeError("no words for this")

def exp_strange_error(runner):
    raise Strange

def exp_keyboard(runner):
    raise KeyboardInterrupt("from within")

def exp_ignores_nothing(runner):
    return {"finding": "well", "metrics": {"value": 1.0}}

def exp_unlinks_its_folder(runner):
    import shutil
    runner.log_metrics({"value": 2.0})
    shutil.rmtree(runner.folder)
    assert True
'''


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("crashes")
    (folder / "exp_crashes.py").write_text(EXPERIMENT)
    return run(folder, "exp_crashes.py", "--parallelism=2", "-v")


def test_every_run_has_one_record_whatever_became_of_it(ended: Ended) -> None:
    handlers = EXPERIMENT.count("\ndef exp_")

    assert len(ended.record_files()) == handlers
    assert f"collected {handlers} items" in ended.text
    assert ended.code == 1


@pytest.mark.parametrize(
    ("handler", "error_type", "said"),
    [
        ("exp_segfault", "SIGSEGV", "the run's process was killed by SIGSEGV (Segmentation fault)"),
        ("exp_abort", "SIGABRT", "the run's process was killed by SIGABRT (Aborted)"),
        ("exp_killed", "SIGKILL", "the run's process was killed by SIGKILL (Killed)"),
        ("exp_leaves", "ProcessExit", "left with exit code 3 before its handler had returned"),
        ("exp_leaves_with_zero", "ProcessExit", "left with exit code 0 before its handler"),
        ("exp_sys_exit", "SystemExit", "I am done"),
        ("exp_pytest_exit", "Exit", "all of you"),
        ("exp_raises_twice", "ValueError", "from both"),
        ("exp_recursion", "RecursionError", "maximum recursion depth exceeded"),
        ("exp_unprintable", "ValueError", "and"),
    ],
)
def test_a_crash_is_a_failed_run_that_names_what_happened(
    ended: Ended, handler: str, error_type: str, said: str
) -> None:
    record = ended.record(handler)

    assert record["status"] == "failed"
    assert record["verdict"] == "not_evaluated"
    assert record["error_type"] == error_type
    assert said in record["error_message"]
    assert f"ERROR exp_crashes.py::{handler}" in ended.text


def test_a_run_that_is_terminated_from_outside_was_preempted(ended: Ended) -> None:
    record = ended.record("exp_group_killed")

    assert (record["status"], record["error_type"]) == ("preempted", "Preempted")
    assert "was ended from outside by SIGTERM" in record["error_message"]
    assert "ERROR exp_crashes.py::exp_group_killed" in ended.text


@pytest.mark.parametrize(
    "handler", ["exp_memory", "exp_cuda_memory", "exp_large_array", "exp_torch_like_memory"]
)
def test_a_lack_of_memory_has_a_status_of_its_own(ended: Ended, handler: str) -> None:
    record = ended.record(handler)

    assert record["status"] == "oom"
    assert record["verdict"] == "not_evaluated"


@pytest.mark.parametrize(
    ("handler", "value"),
    [("exp_segfault", 1.5), ("exp_killed", 2.5), ("exp_leaves", 3.5), ("exp_pytest_exit", 4.5)],
)
def test_metrics_logged_before_a_crash_are_kept(ended: Ended, handler: str, value: float) -> None:
    assert ended.record(handler)["metrics"] == {"before": value}


def test_a_crash_shows_what_the_run_had_written(ended: Ended) -> None:
    assert "Segmentation fault" in ended.log("exp_segfault")
    assert "last words" in ended.text
    assert 'exp_crashes.py", line' in ended.log("exp_segfault")


def test_a_run_that_closes_every_descriptor_is_still_judged(ended: Ended) -> None:
    passed = ended.record("exp_closes_everything")
    failed = ended.record("exp_closes_everything_and_fails")

    assert (passed["status"], passed["verdict"]) == ("completed", "pass")
    assert passed["metrics"] == {"before": 5.5}
    assert (failed["status"], failed["verdict"]) == ("completed", "fail")
    assert "PASSED exp_crashes.py::exp_closes_everything\n" in ended.text
    assert "FAILED exp_crashes.py::exp_closes_everything_and_fails" in ended.text
    assert ended.record("exp_closes_stdout")["verdict"] == "pass"


def test_a_handler_that_returns_in_two_processes_speaks_once(ended: Ended) -> None:
    record = ended.record("exp_returns_twice")

    assert record["finding"] == "the parent"
    assert ended.text.count("PASSED exp_crashes.py::exp_returns_twice") == 1
    assert ended.text.count("ERROR exp_crashes.py::exp_raises_twice") == 1


def test_threads_and_children_that_go_on_do_not_hold_up_the_session(ended: Ended) -> None:
    assert ended.record("exp_threads")["verdict"] == "pass"
    assert ended.record("exp_child_exits_late")["verdict"] == "pass"


def test_a_daemon_ends_with_the_run_that_started_it(ended: Ended) -> None:
    pid = int((ended.run_folder("exp_daemon") / "artifacts" / "daemon.txt").read_text())

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_large_output_is_whole_on_disk_and_its_end_is_shown(ended: Ended) -> None:
    log = ended.run_folder("exp_loud") / "log.txt"

    assert log.stat().st_size > 20_000_000
    assert ended.log("exp_loud").endswith("the very end\n")
    assert "the very end" in ended.text
    assert "bytes before this are in " in ended.text
    assert 60_000 < ended.text.count("x" * 99 + "\n") * 100 < 66_000


def test_an_error_that_cannot_be_told_is_still_recorded(ended: Ended) -> None:
    record = ended.record("exp_strange_error")

    assert record["status"] == "failed"
    assert record["error_type"] == "Strange"


def test_the_next_run_finds_nothing_amiss(ended: Ended) -> None:
    record = ended.record("exp_ignores_nothing")

    assert (record["status"], record["metrics"]) == ("completed", {"value": 1.0})


def test_a_run_that_removes_its_own_folder_keeps_its_metrics(ended: Ended) -> None:
    assert ended.record("exp_unlinks_its_folder")["metrics"] == {"value": 2.0}


def test_an_interrupt_raised_within_a_handler_is_that_runs_own(ended: Ended) -> None:
    assert ended.record("exp_keyboard")["status"] == "cancelled"


def test_a_failing_import_is_an_error_of_collection(tmp_path: Path) -> None:
    (tmp_path / "exp_broken.py").write_text("import nothing_of_this_name\n")

    ended = run(tmp_path, "exp_broken.py")

    assert ended.code == 2
    assert "ERROR collecting exp_broken.py" in ended.text
    assert "No module named 'nothing_of_this_name'" in ended.text
