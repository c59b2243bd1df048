"""Code as users write it, for mypy and pyright; nothing runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

from pytest_gpuexp import (
    Attempt,
    CloudRunnerFactory,
    ExperimentCoordinator,
    ExperimentResult,
    ExperimentRunner,
    LocalRunner,
    ModalRunner,
    Outcome,
    Replicates,
    ResultsWriter,
    StageConfig,
    StageResult,
    at_least,
    at_most,
    cases,
    criterion,
    experiment,
    grid,
    paired,
    seeds,
    tier,
)
from pytest_gpuexp.apps import run_config
from pytest_gpuexp.gathering import SpawnedExperiment, SpawnedSweep

pytestmark = experiment("c1", success_criteria={"accuracy": at_least(0.9)})


@seeds(3)
@grid(lr=[1e-3, 1e-2])
@tier("debug", timeout="10m")
def exp_mlp(runner: ExperimentRunner, lr: float) -> dict[str, Any]:
    runner.log_metrics({"loss": lr}, step=0)
    assert_type(runner.results, ResultsWriter)
    return {"artifacts": [runner.results.save_artifact("a.txt", b"a")]}


def wide(lr: float, width: int) -> bool:
    return lr * width > 1


@seeds([0, 7])
@paired(lr=[1e-3, 1e-2], width=[32, 128], exclude=wide)
@tier("h100", retries=2, on={"preempted", "oom"}, or_tier="fast")
def exp_paired(runner: ExperimentRunner, seed: int, lr: float, width: int) -> None:
    runner.checkpoint({"lr": lr, "width": width}, step=seed)
    kept = runner.restore()
    assert kept is None or kept.folder.exists()
    assert not runner.stopping


@cases([{"lr": 1e-3, "optim": {"name": "adam"}}, {"lr": 1e-2, "optim": None}])
def exp_cases(runner: ExperimentRunner, lr: float) -> str:
    return f"{runner.seed}: {lr}"


def pytest_gpuexp_run_finished(outcome: Outcome) -> None:
    assert_type(outcome.result, ExperimentResult)
    assert_type(outcome.result.metrics.get("loss"), float | None)


def key(attempt: Attempt) -> str:
    return f"{attempt.key} {attempt.number + 1}"


@criterion(exp_mlp, over="seed")
def crit_stable(replicates: Replicates) -> None:
    assert replicates["accuracy"].std(ddof=1) < 0.02


def program(configs: list[dict[str, Any]]) -> None:
    runner = LocalRunner(output_dir="./results")
    assert_type(runner.run_experiment(configs[0], gpu_type="fast"), ExperimentResult)
    assert_type(runner.run_sweep(configs, parallelism=4), list[ExperimentResult])
    assert_type(runner.spawn_experiment(configs[0]), SpawnedExperiment)
    assert_type(runner.spawn_sweep(configs).get(timeout=3.0), list[ExperimentResult])
    assert_type(SpawnedSweep("handle").status(), list[str])
    assert_type(ModalRunner().run_experiment(configs[0]).status == "completed", bool)
    assert_type(CloudRunnerFactory.available_backends(), list[str])
    assert_type(CloudRunnerFactory.create("slurm").run_experiment(configs[0]), ExperimentResult)


def stage(base_config: dict[str, Any]) -> StageResult:
    wanted = StageConfig(
        name="s",
        architectures=["models/gnn/standard"],
        hyperparameter_space={"learning_rate": [1e-4, 1e-3], "model.num_layers": [4, 8]},
        seeds=[1, 2, 3],
        success_criteria={"val_loss": at_most(0.3)},
    )
    coordinator = ExperimentCoordinator(backend="local", base_config_path=Path("exp_configs/"))
    result = coordinator.run_stage(wanted, base_config, parallelism=8, resume=True)
    assert_type(result.experiments, list[ExperimentResult])
    assert_type(result.started_at, str)
    return result


def script() -> Path:
    runner = ExperimentRunner("c1", results_dir="/results")
    runner.register_handler("e1_1", exp_mlp)
    assert_type(runner.run_all(), dict[str, ExperimentResult])
    assert_type(runner.run_sub_experiment("e1_2"), ExperimentResult)
    runner.init_wandb(project="p")
    runner.log_metrics({"lpips": 0.31})
    assert_type(runner.log_artifact("a.png", b"png"), str)
    runner.results.set_status("in_progress")
    runner.results.set_claim("Latents keep what is needed.")
    runner.results.set_success_criteria({"lpips": at_most(0.35)})
    runner.results.add_blocker("no licence")
    runner.results.add_issue("slow")
    runner.results.set_recommendation("proceed")
    runner.results.skip("e1_3", "no data yet")
    return runner.finish()


def app(cfg: Any) -> float | None:
    return run_config(cfg, exp_mlp).metrics.get("val_loss")
