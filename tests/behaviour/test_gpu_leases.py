"""GPUs are leased to runs: each to one at a time, also where sessions share a machine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.sessions import Ended, environment, run, words

EXPERIMENT = '''
"""Runs that tell which GPUs they hold, and when."""
import json, os, signal, time
from pathlib import Path
from pytest_gpuexp import experiment, seeds, tier

pytestmark = experiment("leases", claim="No GPU has two masters.")

def tell(runner):
    began = time.time()
    time.sleep(0.1)
    held = {"devices": os.environ["CUDA_VISIBLE_DEVICES"].split(","), "runner": runner.devices,
            "device": runner.device, "began": began, "ended": time.time()}
    Path(os.environ["HELD"], runner.run_id + ".json").write_text(json.dumps(held))
    assert True

@seeds(4)
def exp_one(runner, seed):
    tell(runner)

@tier("multi")
@seeds(3)
def exp_two(runner, seed):
    tell(runner)

@seeds(3)
def exp_dies(runner, seed):
    tell(runner)
    os.kill(os.getpid(), signal.SIGKILL)

@tier("fast", timeout="1s")
def exp_hangs(runner):
    tell(runner)
    time.sleep(60)

@seeds(2)
def exp_after(runner, seed):
    tell(runner)
'''


def write(folder: Path) -> Path:
    (folder / "exp_leases.py").write_text(EXPERIMENT)
    (folder / "held").mkdir()
    return folder


def shown(folder: Path, tokens: str) -> dict[str, str | None]:
    """Return changes of the environment; the sessions of one test share a folder of leases."""
    return {
        "CUDA_VISIBLE_DEVICES": tokens,
        "HELD": str(folder / "held"),
        "TMPDIR": str(folder),
    }


def held(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "held").iterdir())]


def overlaps(leases: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    return [
        (one, other)
        for number, one in enumerate(leases)
        for other in leases[number + 1 :]
        if set(one["devices"]) & set(other["devices"])
        and one["began"] < other["ended"]
        and other["began"] < one["ended"]
    ]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = write(tmp_path_factory.mktemp("leases"))
    tokens = "3,GPU-8f1c2e,MIG-11/2/0"
    return run(folder, "exp_leases.py", "-v", changes=shown(folder, tokens))


def test_only_the_callers_own_tokens_are_handed_out(ended: Ended) -> None:
    tokens = {token for lease in held(ended.folder) for token in lease["devices"]}

    assert tokens == {"3", "GPU-8f1c2e", "MIG-11/2/0"}
    assert "GPUs 3, GPU-8f1c2e, MIG-11/2/0" in ended.text


def test_the_number_of_gpus_is_the_default_parallelism(ended: Ended) -> None:
    assert "parallelism 3" in ended.text


def test_no_two_runs_hold_a_gpu_at_the_same_time(ended: Ended) -> None:
    leases = held(ended.folder)

    assert len(leases) == 13
    assert overlaps(leases) == []


def test_a_tier_of_two_gpus_leases_two_and_all_others_one(ended: Ended) -> None:
    two = [ended.record(f"exp_two[seed:{seed}]") for seed in range(3)]
    names = {f"{record['run_id']}.json" for record in two}

    for path in (ended.folder / "held").iterdir():
        lease = json.loads(path.read_text())

        assert len(set(lease["devices"])) == (2 if path.name in names else 1)
        assert lease["runner"] == lease["devices"]
        assert lease["device"] == "cuda"


def test_gpus_come_back_after_a_crash_and_a_timeout(ended: Ended) -> None:
    assert {ended.record(f"exp_dies[seed:{seed}]")["error_type"] for seed in range(3)} == {
        "SIGKILL"
    }
    assert ended.record("exp_hangs")["status"] == "timeout"
    assert ended.record("exp_after[seed:1]")["verdict"] == "pass"


def test_a_record_says_which_gpu_its_run_held(ended: Ended) -> None:
    record = ended.record("exp_one[seed:0]")
    lease = json.loads((ended.folder / "held" / f"{record['run_id']}.json").read_text())

    assert record["device"] == f"GPU {lease['devices'][0]}"
    assert record["provenance"]["devices"] == ["3", "GPU-8f1c2e", "MIG-11/2/0"]


def test_more_gpus_than_are_visible_are_refused_before_anything_runs(tmp_path: Path) -> None:
    folder = write(tmp_path)

    ended = run(folder, "exp_leases.py", changes=shown(folder, "5"))

    assert ended.code == 4
    assert "backend local: 1 problem: exp_leases.py::exp_two[seed:" in ended.text
    assert (
        "asks for 2 GPUs (tier multi) and 1 are visible; "
        "choose another --gpu, or show more with CUDA_VISIBLE_DEVICES"
    ) in ended.text
    assert held(folder) == []
    assert not (folder / "results").exists()


def test_another_tier_on_the_command_line_asks_for_other_gpus(tmp_path: Path) -> None:
    folder = write(tmp_path)

    ended = run(folder, "exp_leases.py", "-k", "two", "--gpu=debug", changes=shown(folder, "5"))

    assert ended.code == 0
    assert [lease["devices"] for lease in held(folder)] == [["5"]] * 3


def test_two_sessions_on_one_machine_take_turns_on_a_gpu(tmp_path: Path) -> None:
    folder = write(tmp_path)
    command = words("exp_leases.py", "-k", "one or two or after", "--parallelism=3")

    sessions = [
        subprocess.Popen(
            [*command, f"--storage=results{number}", f"--seed={number}", f"--seed={number + 5}"],
            cwd=folder,
            env=environment(**shown(folder, "0,1")),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for number in range(2)
    ]
    texts = [session.communicate(timeout=100)[0].decode() for session in sessions]

    assert [session.returncode for session in sessions] == [0, 0], texts
    assert len(held(folder)) == 12
    assert overlaps(held(folder)) == []


def test_without_gpus_a_tier_runs_on_the_cpu(tmp_path: Path) -> None:
    folder = write(tmp_path)

    ended = run(folder, "exp_leases.py", "-k", "two and seed:0", changes=shown(folder, ""))

    assert ended.code == 0
    assert "GPUs none (CPU)" in ended.text
    assert held(folder)[0]["device"] == "cpu"
    assert ended.record("exp_two[seed:0]")["device"] == "cpu"
