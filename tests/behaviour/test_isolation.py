"""Each run has a process, seeds and output of its own, and no more of them run than was asked."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.sessions import Ended, run

EXPERIMENT = '''
"""What runs can see of each other."""
import gc, os, sys, time
import pytest
from pytest_gpuexp import experiment, seeds

pytestmark = experiment("isolation", claim="Runs do not touch each other.")
TOUCHED = []
SELDOM = gc.get_threshold()[0]

@pytest.fixture(scope="session")
def session_number():
    return os.getpid()

@pytest.fixture(scope="module")
def module_number():
    return os.getpid()

@seeds(6)
def exp_alone(runner, seed, session_number, module_number):
    began = time.time()
    TOUCHED.append(seed)
    os.environ["TOUCHED_BY"] = os.environ.get("TOUCHED_BY", "") + str(seed)
    sys.path.append("/nowhere/%d" % seed)
    os.chdir(os.path.sep)
    time.sleep(0.15)
    runner.results.save_json_artifact("seen.json", {
        "pid": os.getpid(), "group": os.getpgid(0), "session": os.getsid(0),
        "touched": TOUCHED, "environ": os.environ["TOUCHED_BY"],
        "began": began, "ended": time.time(),
        "path": sys.path.count("/nowhere/%d" % ((seed + 1) % 6)),
        "fixtures": [session_number, module_number], "run": os.environ.get("PYTEST_GPUEXP_RUN"),
        "collections": gc.get_threshold(), "seldom": SELDOM, "frozen": gc.get_freeze_count(),
    })
    print("output of seed", seed)
    assert seed != 5
'''
RANDOM = '''
"""What numbers a seed gives."""
import random
import numpy as np
import pytest
import torch
from pytest_gpuexp import experiment, seeds

pytestmark = experiment("random", claim="A seed says which numbers come.")
np.random.seed(12345)

@pytest.fixture
def thirsty():
    random.random(), np.random.rand(3), torch.rand(5)

def numbers():
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]

@seeds([3, 4])
def exp_random(runner, seed):
    runner.results.save_json_artifact("numbers.json", numbers())

@seeds([3, 4])
def exp_random_after_a_fixture(runner, seed, thirsty):
    runner.results.save_json_artifact("numbers.json", numbers())

def exp_product(runner):
    assert float((torch.rand(300, 300) @ torch.rand(300, 300)).sum()) > 0
'''
CONFTEST = """
import random
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    random.seed(99)  # as plugins do that shuffle tests
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("isolation")
    write(folder)
    return folder


def write(folder: Path) -> None:
    (folder / "exp_isolation.py").write_text(EXPERIMENT)
    (folder / "exp_random.py").write_text(RANDOM)
    (folder / "conftest.py").write_text(CONFTEST)


@pytest.fixture(scope="module")
def forked(project: Path) -> Ended:
    return run(project, ".", "--parallelism=2")


@pytest.fixture(scope="module")
def spawned(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("spawned")
    write(folder)
    few = "seed in (0, 3, 5)"
    options = ["--parallelism=2", "--gpuexp-isolation=spawn", f"--gpuexp-filter={few}"]
    return run(folder, ".", *options, "-k", "alone or exp_random and not after")


def seen(ended: Ended, seed: int) -> dict[str, Any]:
    return artifact(ended, f"exp_alone[seed:{seed}]", "seen.json")  # type: ignore[no-any-return]


def artifact(ended: Ended, name: str, file: str) -> Any:
    return json.loads((ended.run_folder(name) / "artifacts" / file).read_text())


def test_every_run_has_a_process_of_its_own(forked: Ended) -> None:
    pids = {seen(forked, seed)["pid"] for seed in range(6)}

    assert len(pids) == 6


def test_a_run_leads_a_session_so_that_all_it_starts_can_be_ended(forked: Ended) -> None:
    one = seen(forked, 0)

    assert one["group"] == one["session"] == one["pid"]


def test_what_one_run_changes_no_other_sees(forked: Ended) -> None:
    for seed in range(6):
        one = seen(forked, seed)

        assert one["touched"] == [seed]
        assert one["environ"] == str(seed)
        assert one["path"] == 0


def test_fixtures_of_wider_scope_are_made_anew_in_each_run(forked: Ended) -> None:
    for seed in range(6):
        one = seen(forked, seed)

        assert one["fixtures"] == [one["pid"], one["pid"]]


def test_no_more_runs_execute_at_once_than_were_asked_for(forked: Ended) -> None:
    spans = [(one["began"], one["ended"]) for one in (seen(forked, seed) for seed in range(6))]

    at_once = [sum(a <= began < b for a, b in spans) for began, _ in spans]

    assert max(at_once) == 2


def test_a_run_collects_garbage_as_often_as_any_process(forked: Ended) -> None:
    first = seen(forked, 0)

    assert first["collections"] == list(gc.get_threshold())
    assert first["seldom"] > gc.get_threshold()[0]  # where it was imported, for all runs
    assert first["frozen"] > 10_000


def test_a_run_knows_which_attempt_it_is(forked: Ended) -> None:
    record = forked.record("exp_alone[seed:0]")

    assert seen(forked, 0)["run"] == f"{record['run_id']}.1"


def test_each_run_writes_to_a_log_of_its_own(forked: Ended) -> None:
    for seed in range(5):
        assert forked.log(f"exp_alone[seed:{seed}]") == f"output of seed {seed}\n"


def test_output_is_shown_for_the_run_that_failed_alone(forked: Ended) -> None:
    failures = forked.text.partition("= FAILURES =")[2].partition("= PASSES")[0]

    assert "output of seed 5" in failures
    assert "output of seed 0" not in failures


def test_one_seed_gives_the_same_numbers_in_any_process_and_other_seeds_others(
    forked: Ended,
) -> None:
    three = artifact(forked, "exp_random[seed:3]", "numbers.json")
    four = artifact(forked, "exp_random[seed:4]", "numbers.json")

    assert all(a != b for a, b in zip(three, four, strict=True))
    assert three == artifact(forked, "exp_random_after_a_fixture[seed:3]", "numbers.json")
    assert four == artifact(forked, "exp_random_after_a_fixture[seed:4]", "numbers.json")


def test_torch_computes_in_a_forked_process(forked: Ended) -> None:
    record = forked.record("exp_product")

    assert record["status"] == "completed"
    assert record["verdict"] == "pass"


def test_a_second_session_makes_new_attempts_and_keeps_the_first_ones(
    project: Path, forked: Ended
) -> None:
    first = forked.records("exp_alone[seed:2]")

    again = run(project, "exp_isolation.py", "-k", "seed:2")

    attempts = again.records("exp_alone[seed:2]")
    assert [record["attempt"] for record in attempts] == [1, 2]
    assert attempts[:1] == first
    assert again.code == 0


def test_fresh_interpreters_give_the_same_results_and_reports(
    forked: Ended, spawned: Ended
) -> None:
    same = ("status", "verdict", "assertions", "config", "error_message", "run_id", "metrics")
    for name in ("exp_alone[seed:0]", "exp_alone[seed:5]", "exp_random[seed:3]"):
        one, other = forked.records(name)[0], spawned.record(name)

        assert {key: one.get(key) for key in same} == {key: other.get(key) for key in same}
    assert artifact(spawned, "exp_random[seed:3]", "numbers.json") == artifact(
        forked, "exp_random[seed:3]", "numbers.json"
    )
    assert spawned.code == forked.code == 1
    assert ">       assert seed != 5" in spawned.text
    assert seen(spawned, 0)["pid"] != seen(spawned, 5)["pid"]
    assert "output of seed 5" in spawned.text
