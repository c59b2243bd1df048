"""A run that takes too long is ended with all that it started, and keeps what it had logged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.behaviour.sessions import Ended, run

EXPERIMENT = '''
"""Handlers that take too long, each in its own way."""
import os, signal, subprocess, sys, time
import pytest
from pytest_gpuexp import experiment, seeds, tier

pytestmark = experiment("timeouts", claim="Time is bounded.")

SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]
STUBBORN = [sys.executable, "-S", "-c", (
    "import os, signal, time\\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n"
    "if os.fork(): time.sleep(300)\\n"
    "os.setsid(); print(os.getpid(), flush=True); time.sleep(300)"
)]

@tier("debug", timeout="1s")
def exp_sleeps(runner):
    for step in range(1000):
        runner.log_metrics({"loss": 1.0 / (step + 1)})
        runner.log_metrics({"epoch": step}, step=step)
        if step == 20:
            print("still here", flush=True)
            time.sleep(300)

@tier("debug", timeout="1s")
def exp_ignores_the_first_request(runner):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    runner.log_metrics({"loss": 2.0})
    time.sleep(300)

@tier("debug", timeout="1s")
def exp_tidies_up(runner):
    def tidy(number, frame):
        runner.log_metrics({"saved": 1.0})
        os._exit(0)
    signal.signal(signal.SIGTERM, tidy)
    time.sleep(300)

@tier("debug", timeout="1s")
def exp_has_children(runner):
    plain = subprocess.Popen(SLEEPER)
    apart = subprocess.Popen(SLEEPER, start_new_session=True)
    stubborn = subprocess.Popen(STUBBORN, stdout=subprocess.PIPE)
    grandchild = int(stubborn.stdout.readline())
    pids = [plain.pid, apart.pid, stubborn.pid, grandchild]
    runner.results.save_artifact("pids.txt", " ".join(map(str, pids)))
    time.sleep(300)

@tier("debug", timeout="1s")
def exp_holds_the_interpreter(runner):
    sum(i for i in range(10**12))

@tier("debug", timeout="1s")
def exp_swallows_everything(runner):
    while True:
        try:
            time.sleep(300)
        except BaseException:
            pass

@pytest.fixture
def slow_fixture():
    time.sleep(300)

@tier("debug", timeout="1s")
def exp_waits_for_its_fixture(runner, slow_fixture):
    pass

@tier("debug", timeout="60s")
def exp_in_time(runner):
    assert True
'''
STUCK = [
    "exp_sleeps",
    "exp_ignores_the_first_request",
    "exp_tidies_up",
    "exp_has_children",
    "exp_holds_the_interpreter",
    "exp_swallows_everything",
    "exp_waits_for_its_fixture",
]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("timeouts")
    (folder / "exp_timeouts.py").write_text(EXPERIMENT)
    return run(folder, "exp_timeouts.py", "--parallelism=8", "-v")


@pytest.mark.parametrize("handler", STUCK)
def test_a_run_beyond_its_time_has_the_status_timeout(ended: Ended, handler: str) -> None:
    record = ended.record(handler)

    assert record["status"] == "timeout"
    assert record["verdict"] == "not_evaluated"
    assert record["error_type"] == "Timeout"
    assert "longer than its timeout of 1 s and was ended" in record["error_message"]
    assert 1.0 <= record["duration_seconds"] < 20.0
    assert f"ERROR exp_timeouts.py::{handler}" in ended.text


def test_metrics_logged_so_far_are_kept(ended: Ended) -> None:
    metrics = ended.record("exp_sleeps")["metrics"]

    assert metrics == {"loss": 1.0 / 21, "epoch": 20}
    assert len((ended.run_folder("exp_sleeps") / "metrics.jsonl").read_text().splitlines()) == 42
    assert ended.record("exp_ignores_the_first_request")["metrics"] == {"loss": 2.0}


def test_a_handler_may_tidy_up_within_its_grace(ended: Ended) -> None:
    assert ended.record("exp_tidies_up")["metrics"] == {"saved": 1.0}


def test_artifacts_saved_before_the_timeout_are_published(ended: Ended) -> None:
    names = [artifact["name"] for artifact in ended.record("exp_has_children")["artifacts"]]

    assert names == ["pids.txt"]


def test_no_descendant_outlives_the_run(ended: Ended) -> None:
    text = (ended.run_folder("exp_has_children") / "artifacts" / "pids.txt").read_text()

    for pid in map(int, text.split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_output_up_to_the_timeout_is_shown(ended: Ended) -> None:
    assert "still here" in ended.text


def test_a_run_within_its_time_is_left_alone(ended: Ended) -> None:
    assert ended.record("exp_in_time")["verdict"] == "pass"
    assert ended.code == 1


def test_the_command_line_replaces_the_tiers_timeout(tmp_path: Path) -> None:
    (tmp_path / "exp_timeouts.py").write_text(EXPERIMENT)

    ended = run(tmp_path, "exp_timeouts.py", "-k", "exp_sleeps", "--run-timeout=5x")
    shorter = run(tmp_path, "exp_timeouts.py", "-k", "exp_sleeps", "--run-timeout=0.3")

    assert ended.code == 4
    assert "'5x' is not a duration such as 90, 45s, 10m, 1h30m" in ended.text
    assert shorter.record("exp_sleeps")["status"] == "timeout"
    assert shorter.record("exp_sleeps")["duration_seconds"] < 1.0
