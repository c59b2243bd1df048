"""What a handler does with its runner, and where that can be found afterwards."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.behaviour.sessions import Ended, run, write

EXPERIMENT = '''
"""Handlers that use all that a runner offers."""
import os
from pathlib import Path
import numpy as np
import pytest
from pytest_gpuexp import cases, experiment, grid, seeds
from pytest_gpuexp.errors import GpuexpError

pytestmark = experiment("runner", claim="A runner is all one needs.")

@seeds([7])
@grid(**{"model.width": [8], "model.deep.rate": [0.5], "lr": [0.1]})
def exp_configured(runner, lr):
    assert runner.config == {"model": {"width": 8, "deep": {"rate": 0.5}}, "lr": 0.1, "seed": 7}
    assert (runner.seed, runner.stub, runner.device, lr) == (7, False, "cpu", 0.1)
    assert runner.run_id.startswith("exp_configured-")

def exp_logs(runner):
    runner.log_metrics({"loss": np.float32(0.5)}, step=10)
    runner.log_metrics({"loss": 0.25})
    runner.log_metrics({"done": 1}, step=3)

def exp_saves(runner):
    kept = [
        runner.results.save_artifact("plots/tsne.png", b"PNG"),
        runner.results.save_json_artifact("table.json", {"a": np.arange(2), "b": np.float64(1)}),
    ]
    runner.results.get_artifact_path("own/file.txt").write_text("own")
    return {"artifacts": kept}

@cases([{"name": "/etc/x"}, {"name": "../x"}, {"name": "C:x"}, {"name": "link/x"}])
def exp_climbs(runner, name, tmp_path):
    folder = runner.results.get_artifact_path("here").parent
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(GpuexpError, match="leads out of the run's folder"):
        runner.results.save_artifact(name, "x")
    assert list(tmp_path.iterdir()) == []

def exp_returns_an_array(runner):
    return {"metrics": {"scores": np.zeros(3)}}

def exp_large(runner):
    for step in range(3000):
        runner.log_metrics({"step": step})
    known = "HUGGING_FACE_TOKEN" in os.environ
    assert known
'''
SECRET = "hunter2xyz"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("runner")
    (folder / "exp_runner.py").write_text(EXPERIMENT)
    git(folder, "init", "-q")
    git(folder, "add", "exp_runner.py")
    git(folder, "commit", "-q", "-m", "Try it")
    (folder / "exp_runner.py").write_text(EXPERIMENT + "\n# tried once more\n")
    hidden = {"HUGGING_FACE_TOKEN": SECRET, "TMGG_TIGRIS_SECRET_KEY": SECRET}
    return run(folder, "exp_runner.py", f"--override-ini=junit_suite_name=api_key={SECRET}",
               f"--junit-prefix=token={SECRET}", changes=hidden)  # fmt: skip


def git(folder: Path, *words: str) -> str:
    name = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", *name, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def points(ended: Ended, name: str) -> list[dict[str, Any]]:
    lines = (ended.run_folder(name) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_all_that_a_handler_checks_holds(ended: Ended) -> None:
    assert "1 error" in ended.text, ended.text
    assert ended.record("exp_returns_an_array")["status"] == "failed"
    others = [yaml.safe_load(path.read_text()) for path in ended.record_files()]
    assert {one["status"] for one in others if one["handler"] != "exp_returns_an_array"} == {
        "completed"
    }


def test_dotted_parameters_are_nested_in_the_record_too(ended: Ended) -> None:
    name = next(
        record["name"]
        for record in (yaml.safe_load(path.read_text()) for path in ended.record_files())
        if record["handler"] == "exp_configured"
    )

    record = ended.record(name)

    assert record["config"] == {"model": {"width": 8, "deep": {"rate": 0.5}}, "lr": 0.1, "seed": 7}
    assert record["parameters"] == {"model.width": 8, "model.deep.rate": 0.5, "lr": 0.1}


def test_steps_are_given_or_counted_on(ended: Ended) -> None:
    told = [(point["step"], point["metrics"]) for point in points(ended, "exp_logs")]

    assert told == [(10, {"loss": 0.5}), (11, {"loss": 0.25}), (3, {"done": 1})]
    assert ended.record("exp_logs")["metrics"] == {"loss": 0.25, "done": 1}


def test_artifacts_lie_under_their_names_with_hashes_in_the_record(ended: Ended) -> None:
    folder = ended.run_folder("exp_saves") / "artifacts"
    artifacts = ended.record("exp_saves")["artifacts"]

    assert (folder / "plots" / "tsne.png").read_bytes() == b"PNG"
    assert json.loads((folder / "table.json").read_text()) == {"a": [0, 1], "b": 1.0}
    assert [one["name"] for one in artifacts] == ["own/file.txt", "plots/tsne.png", "table.json"]
    assert all(len(one["sha256"]) == 64 for one in artifacts)


def test_no_artifact_climbs_out_of_its_folder(ended: Ended) -> None:
    assert ended.text.count("PASSED exp_runner.py::exp_climbs") == 4


def test_an_array_is_refused_with_advice(ended: Ended) -> None:
    told = ended.record("exp_returns_an_array")["error_message"]

    assert told == (
        "the handler's return value is not valid: metric 'scores' has shape (3,); reduce it "
        "first, as with .mean().item(), or save it as an artifact"
    )


def test_a_long_series_is_whole(ended: Ended) -> None:
    told = points(ended, "exp_large")

    assert [point["step"] for point in told] == list(range(3000))


def test_the_code_that_ran_is_named_by_commit_and_patch(ended: Ended) -> None:
    provenance = ended.record("exp_logs")["provenance"]

    assert provenance["git"]["commit"] == git(ended.folder, "rev-parse", "HEAD")
    assert len(provenance["git"]["patch_sha256"]) == 64
    assert provenance["packages"]["numpy"]
    assert provenance["python"].startswith("3.")
    assert "exp_runner.py" in provenance["command_line"]


def test_no_secret_reaches_any_file_of_the_results(ended: Ended) -> None:
    files = [path for path in (ended.folder / "results").rglob("*") if path.is_file()]

    assert len(files) > 20
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


LARGE = '''
"""Many runs at once with much to tell, to and fro."""
from pytest_gpuexp import experiment, grid

pytestmark = experiment("large", claim="Much is told.")

@grid(number=list(range(24)), text=["x" * 60_000])
def exp_large(runner, number, text):
    print(text * 2)
    assert number < 0, text
'''


def test_much_to_tell_in_both_directions_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "exp_large.py").write_text(LARGE)

    ended = run(tmp_path, "exp_large.py", "--parallelism=12", "-q", "--tb=no", "-r", "N")

    assert len(ended.record_files()) == 24
    assert "24 failed" in ended.text[-300:]


TRUTHS = """
def exp_truth(runner):
    runner.log_metrics({"logged": True})
    assert True
    return {"metrics": {"returned": False}}
"""


def test_a_truth_value_is_a_metric_of_one_or_zero(tmp_path: Path) -> None:
    write(tmp_path, exp_truth=TRUTHS)

    ended = run(tmp_path)

    assert ended.record("exp_truth")["metrics"] == {"logged": 1, "returned": 0}


LATE = """
import sys, torch
from pytest_gpuexp import seeds

@seeds(8)
def exp_adam(runner, seed):
    known = "torch._dynamo" in sys.modules
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert seed >= 0
    return {"metrics": {"known": known}}
"""


def test_what_torch_imports_late_is_imported_before_the_runs(tmp_path: Path) -> None:
    write(tmp_path, exp_late=LATE)

    ended = run(tmp_path, "--seeds=2")

    known = [ended.record(f"exp_adam[seed:{seed}]")["metrics"]["known"] for seed in range(2)]
    assert known == [1, 1]


def test_where_the_file_does_not_tell_it_is_imported_for_the_runs_that_follow(
    tmp_path: Path,
) -> None:
    hidden = LATE.replace("torch.optim.Adam", "getattr(torch, 'opt' + 'im').Adam")
    write(tmp_path, exp_late=hidden)

    ended = run(tmp_path, "--parallelism=1")

    known = [ended.record(f"exp_adam[seed:{seed}]")["metrics"]["known"] for seed in range(8)]
    assert known[0] == 0
    assert known[3:] == [1] * 5


HUGE = """
from pytest_gpuexp import seeds

@seeds(2)
def exp_huge(runner, seed):
    assert seed >= 0
    runner.log_metrics({"fine": 1, "huge": 10 ** (400 * seed)})
"""


def test_an_int_beyond_floats_ends_its_run_alone_with_advice(tmp_path: Path) -> None:
    write(tmp_path, exp_huge=HUGE)

    ended = run(tmp_path)

    assert ended.record("exp_huge[seed:0]")["status"] == "completed"
    assert "log its logarithm" in ended.record("exp_huge[seed:1]")["error_message"]
    assert ended.record("exp_huge[seed:1]")["metrics"] == {"fine": 1}
