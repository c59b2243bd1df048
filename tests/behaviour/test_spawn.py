"""Where a fork is not safe, runs start in fresh interpreters, and it is said why."""

from __future__ import annotations

import gc
from pathlib import Path

from tests.behaviour.sessions import run

THREADED = '''
"""A module that starts a thread while it is imported."""
import gc, os, signal, threading, time
from pytest_gpuexp import experiment, seeds, tier

pytestmark = experiment("threaded", claim="Threads are of no concern.")
LOCK = threading.Lock()

def hold():
    with LOCK:
        time.sleep(3600)

threading.Thread(target=hold, name="holder", daemon=True).start()
CHANGED = []

@seeds(2)
def exp_fresh(runner, seed):
    CHANGED.append(seed)
    runner.log_metrics({"pid": os.getpid(), "changed": len(CHANGED)})
    runner.log_metrics({"collections": gc.get_threshold()[0]})
    assert threading.active_count() == 2

def exp_dies(runner):
    runner.log_metrics({"before": 1.0})
    os.kill(os.getpid(), signal.SIGSEGV)

@tier("debug", timeout="2s")
def exp_hangs(runner):
    time.sleep(300)
'''
REASON = "importing the experiments started threads (holder)"


def test_a_thread_begun_by_an_import_leads_to_fresh_interpreters_told_once(tmp_path: Path) -> None:
    (tmp_path / "exp_threaded.py").write_text(THREADED)

    ended = run(tmp_path, "exp_threaded.py", "-v", "--parallelism=2")

    told = f"runs start in fresh interpreters, which is slower: {REASON}."
    assert ended.text.count(told) == 1
    assert "Move that out of module level to have them forked." in ended.text
    records = [ended.record(f"exp_fresh[seed:{seed}]") for seed in range(2)]
    assert {record["verdict"] for record in records} == {"pass"}
    assert {record["metrics"]["changed"] for record in records} == {1}
    assert len({record["metrics"]["pid"] for record in records}) == 2
    assert {record["metrics"]["collections"] for record in records} == {gc.get_threshold()[0]}
    assert ended.record("exp_dies")["error_type"] == "SIGSEGV"
    assert ended.record("exp_dies")["metrics"] == {"before": 1.0}
    assert ended.record("exp_hangs")["status"] == "timeout"


def test_who_asks_for_forks_gets_them_with_a_warning(tmp_path: Path) -> None:
    quiet = THREADED.replace("active_count() == 2", "active_count() == 1")
    (tmp_path / "exp_threaded.py").write_text(quiet)

    ended = run(tmp_path, "exp_threaded.py", "-k", "fresh", "--gpuexp-isolation=fork")

    assert ended.text.count(f"runs are forked as asked, although {REASON}; they may hang.") == 1
    assert ended.code == 0


def test_a_module_that_can_be_forked_says_nothing_of_interpreters(tmp_path: Path) -> None:
    plain = THREADED.replace("threading.Thread(target=hold", "dict(target=hold").replace(
        ").start()", ")"
    )
    (tmp_path / "exp_threaded.py").write_text(plain.replace("active_count() == 2", "Lock"))

    ended = run(tmp_path, "exp_threaded.py", "-k", "fresh", "--gpuexp-isolation=spawn")

    assert "fresh interpreters" not in ended.text
    assert "isolation spawn" in ended.text
    assert ended.code == 0
