"""Experiments from a program, through the sessions that pytest would start."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import pytest_gpuexp
from pytest_gpuexp import (
    CloudRunnerFactory,
    ExperimentCoordinator,
    LocalRunner,
    ModalRunner,
    StageConfig,
)
from pytest_gpuexp.errors import UsageProblems, WorkerMayNotDispatch
from pytest_gpuexp.gathering import SpawnedExperiment, SpawnedSweep
from tests.behaviour import sessions

EXPERIMENT = """
    import os, signal, time
    import pytest
    from pytest_gpuexp import experiment, tier
    from pytest_gpuexp.cloud import LocalRunner

    pytestmark = experiment("c1-a", claim="it works")

    @pytest.fixture
    def doubled(lr):
        return 2 * lr

    @tier("debug", timeout="10m")
    def exp_mlp(runner, seed, lr, doubled, model=None):
        assert lr < 1, "too big"
        if lr == 0.25:
            raise ValueError("boom")
        if lr == 0.125:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"metrics": {"val_loss": doubled + seed, "layers": (model or {}).get("layers", 0)}}

    def exp_slow(config):
        time.sleep(config["seconds"])

    def exp_nested():
        LocalRunner().run_experiment({"_target_": "exp_a.py::exp_slow"})
"""
NODE = "exp_a.py::exp_mlp"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sessions.write(
        tmp_path, exp_a=EXPERIMENT, exp_broken="import nothing_of_the_kind\ndef exp_b(): pass\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    package = tmp_path / "project"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "train.py").write_text(
        "def main(runner, **config):\n"
        "    assert config['model']['layers'] > 0\n"
        "    return {'metrics': {'layers': config['model']['layers']}}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return tmp_path


def test_a_sweep_gives_a_result_a_config_whatever_becomes_of_single_runs(folder: Path) -> None:
    runner = CloudRunnerFactory.create("local", output_dir="./out")
    configs: list[dict[str, Any]] = [
        {"_target_": NODE, "lr": 0.5, "seed": 3, "model": {"layers": 4}},
        {"_target_": NODE, "lr": 0.25},
        {"_target_": NODE, "lr": 2},
        {"_target_": NODE, "lr": 0.125},
        {"_target_": "exp_broken.py::exp_b"},
        {"_target_": "project.train.main", "run_id": "mine-1", "model": {"layers": 2}},
    ]

    results = runner.run_sweep(configs, gpu_type="standard", parallelism=2, timeout_seconds=60)

    assert [one.status for one in results] == [
        "completed",
        "failed",
        "completed",
        "failed",
        "failed",
        "completed",
    ]
    first, crashed, refuted, killed, unimportable, target = results
    assert first.metrics == {"val_loss": 4.0, "layers": 4}
    assert first.config == {"lr": 0.5, "seed": 3, "model": {"layers": 4}}
    assert (first.duration_seconds > 0, first.error_message) == (True, None)
    assert (crashed.error_type, crashed.error_message) == ("ValueError", "boom")
    assert (refuted.verdict, "too big" in str(refuted.error_message)) == ("fail", True)
    assert "SIGKILL" in str(killed.error_message)
    assert "nothing_of_the_kind" in str(unimportable.error_message)
    assert (target.run_id, target.verdict, target.metrics) == ("mine-1", "pass", {"layers": 2})
    assert (folder / "out/c1-a/records" / f"{first.run_id}.1.yaml").exists()
    assert list((folder / ".gpuexp/sweeps").iterdir()) == []


def test_a_timeout_ends_one_run(folder: Path) -> None:
    runner = LocalRunner()

    result = runner.run_experiment(
        {"_target_": "exp_a.py::exp_slow", "seconds": 60}, timeout_seconds=1
    )

    assert result.status == "timeout"


def test_bad_configs_are_refused_with_all_their_problems_and_nothing_runs(folder: Path) -> None:
    runner = LocalRunner()
    configs: list[dict[str, Any]] = [
        {"_target_": "exp_a.py::exp_mlq", "seed": -1, "api_key": "abc"},
        {"_target_": NODE, "lr": float("nan"), "run_id": "../up"},
        {"_target_": NODE, "lr": 0.5, "home": "${oc.env:HOME}"},
        {"_target_": NODE, "lr": 0.5},
        {"_target_": NODE, "lr": 0.5},
        {"_target_": "project.nowhere.main"},
        {"_target_": "__main__.main"},
    ]

    with pytest.raises(UsageProblems) as caught:
        runner.run_sweep(configs)

    told = str(caught.value)
    for words in (
        "configs[0]: _target_: 'exp_a.py::exp_mlq' names no function: exp_a.py has the functions",
        "configs[0]: seed: -1 is out of range",
        "configs[0]: api_key: it looks like a secret",
        "configs[1]: lr: nan (float) cannot be a parameter",
        "configs[1]: run_id: '../up' names a file",
        "configs[2]: home: '${oc.env:HOME}' asks the environment",
        "configs[4]: it is the same run as configs[3]",
        "configs[5]: _target_: 'project.nowhere.main' names no function: there is no module",
        "configs[6]: _target_: '__main__.main' names no function: a worker cannot import",
    ):
        assert words in told
    assert not (folder / "results").exists()
    assert not (folder / ".gpuexp").exists()


def test_a_tier_and_a_timeout_that_are_none_are_told_together(folder: Path) -> None:
    with pytest.raises(UsageProblems, match=r"2 problems: gpu_type: 'a100' .*timeout_seconds: 0 "):
        LocalRunner().run_experiment({"_target_": NODE}, gpu_type="a100", timeout_seconds=0)


def test_a_function_that_lacks_an_argument_is_refused_by_the_session(folder: Path) -> None:
    with pytest.raises(UsageProblems, match=r"exp_mlp: 'lr' is neither a parameter"):
        LocalRunner().run_sweep([{"_target_": NODE}, {"_target_": NODE, "lr": 0.5}])

    assert list(folder.glob("results/*/records/*")) == []


def test_no_configs_give_no_results(folder: Path) -> None:
    assert LocalRunner().run_sweep([]) == []


def test_a_spawned_sweep_is_found_again_by_its_handle_and_cancelled(folder: Path) -> None:
    target = "exp_a.py::exp_slow"
    quick, slow = {"_target_": target, "seconds": 0}, {"_target_": target, "seconds": 600}

    spawned = LocalRunner().spawn_sweep([quick, slow], parallelism=1)

    sessions.until(lambda: spawned.status() == ["completed", "running"])
    sessions.until(lambda: len(list(folder.glob("results/*/runs/*/1/log.txt"))) == 1)
    again = SpawnedSweep(spawned.handle)
    with pytest.raises(TimeoutError, match="has not ended within 0 seconds; it goes on"):
        again.get(timeout=0)
    again.cancel()
    assert [one.status for one in again.get()] == ["completed", "cancelled"]
    assert spawned.status() == ["completed", "cancelled"]


def test_a_spawned_experiment_gives_its_result(folder: Path) -> None:
    spawned = LocalRunner().spawn_experiment({"_target_": NODE, "lr": 0.5})

    result = spawned.get()

    assert (result.status, spawned.status()) == ("completed", "completed")
    assert SpawnedExperiment(spawned.handle).get().metrics == result.metrics


def test_a_handler_cannot_start_a_sweep_of_its_own(folder: Path) -> None:
    result = LocalRunner().run_experiment({"_target_": "exp_a.py::exp_nested"})

    assert (result.status, result.error_type) == ("failed", WorkerMayNotDispatch.__name__)


def test_a_tier_of_the_projects_own_is_one_for_runners_and_stages(folder: Path) -> None:
    (folder / "pyproject.toml").write_text(
        '[tool.gpuexp.tiers]\nhuge = { gpu = "B200:8", timeout = "2h" }\n'
    )
    stage = StageConfig(name="s", handler=NODE, gpu_type="huge", hyperparameter_space={"lr": [0.5]})

    result = LocalRunner().run_experiment({"_target_": NODE, "lr": 0.5}, gpu_type="huge")
    whole = ExperimentCoordinator(storage="staged").run_stage(stage, {})

    assert (result.status, whole.experiments[0].status) == ("completed", "completed")
    with pytest.raises(UsageProblems, match=r"stage s: 1 problem: gpu_type: 'hug' .*huge"):
        ExperimentCoordinator().plan(dataclasses.replace(stage, gpu_type="hug"), {})


def test_any_name_that_a_hook_offers_is_a_backend(folder: Path) -> None:
    (folder / "conftest.py").write_text(
        "from pytest_gpuexp.backends.in_process import InProcessBackend\n"
        "from pytest_gpuexp.records import ExperimentResult, Outcome\n"
        "def execute(attempt):\n"
        "    spec = attempt.spec\n"
        "    return Outcome(result=ExperimentResult(\n"
        "        experiment_id=spec.experiment_id, run_id=spec.run_id, attempt=attempt.number,\n"
        "        handler=spec.handler, name=spec.name, path=spec.path, status='completed',\n"
        "        verdict='not_evaluated', config={}, parameters=spec.parameters, seed=spec.seed,\n"
        "        metrics={'gpus': spec.gpus}))\n"
        "def pytest_gpuexp_make_backend(name):\n"
        "    return InProcessBackend(execute) if name == 'elsewhere' else None\n"
    )

    result = CloudRunnerFactory.create("elsewhere").run_experiment(
        {"_target_": NODE, "lr": 0.5}, gpu_type="multi"
    )

    assert result.metrics == {"gpus": 2}


def test_a_backend_that_is_not_there_is_told_in_the_sessions_words(folder: Path) -> None:
    with pytest.raises(UsageProblems, match="backend 'nowhere' is not known here"):
        CloudRunnerFactory.create("nowhere").run_experiment({"_target_": NODE, "lr": 0.5})


def test_the_factory_knows_its_runners_and_their_settings() -> None:
    assert type(CloudRunnerFactory.create("local")) is LocalRunner
    assert type(CloudRunnerFactory.create("modal")) is ModalRunner
    with pytest.raises(UsageProblems, match=r"runner 'modal': 2 problems: output_dir is no sett"):
        CloudRunnerFactory.create("modal", output_dir="x", colour="red")


def test_a_session_ends_with_the_program_that_wanted_its_results(folder: Path) -> None:
    (folder / "program.py").write_text(
        "import os, threading\n"
        "from pytest_gpuexp import LocalRunner\n"
        "configs = [{'_target_': 'exp_a.py::exp_slow', 'seconds': 0.01, 'seed': seed}\n"
        "           for seed in range(2000)]\n"
        "threading.Thread(target=LocalRunner().run_sweep, args=[configs], daemon=True).start()\n"
        "while not [d for d in __import__('pathlib').Path('results').glob('*/records/*')]: pass\n"
        "os._exit(0)\n"
    )
    path = os.pathsep.join([str(Path(pytest_gpuexp.__file__).parent.parent), str(folder)])

    os.spawnve(
        os.P_WAIT,
        sys.executable,
        [sys.executable, "program.py"],
        {**sessions.environment(), "PYTHONPATH": path},
    )

    sweep = SpawnedSweep(next((folder / ".gpuexp/sweeps").iterdir()))
    deadline = time.monotonic() + 60
    while "running" in sweep.status() and time.monotonic() < deadline:
        time.sleep(0.1)
    ended = sweep.status()
    assert "running" not in ended
    assert 1 <= ended.count("completed") < 2000
