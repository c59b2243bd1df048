"""Mistakes that type checkers tell a user of; without an error here an ignore would be one."""

from __future__ import annotations

from pytest_gpuexp import (
    ExperimentCoordinator,
    ExperimentResult,
    LocalRunner,
    StageConfig,
    criterion,
    experiment,
)


def handler(runner: object) -> None: ...


experiment("c1", judged="some")  # type: ignore[arg-type]
criterion(handler, over="variant")  # type: ignore[arg-type]
StageConfig("s")  # type: ignore[call-arg]
StageConfig(name="s", direction="smaller")  # type: ignore[arg-type]
LocalRunner().run_sweep({"seed": 1})  # type: ignore[arg-type]
LocalRunner().run_experiment({}, gpus=2)  # type: ignore[call-arg]
ExperimentCoordinator().run_stage("stages/one.yaml")  # type: ignore[arg-type]


def change(result: ExperimentResult) -> bool:
    result.status = "completed"  # type: ignore[misc]
    return result.status == "done"  # type: ignore[comparison-overlap]
