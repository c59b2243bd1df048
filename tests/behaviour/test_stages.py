"""Whole stages, from a program and under pytest."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_gpuexp import ExperimentCoordinator, StageConfig
from tests.behaviour import sessions

EXPERIMENT = """
    import pytest
    from pytest_gpuexp import at_least, criterion, experiment, grid, seeds

    pytestmark = experiment("c1-a", success_criteria={"auc": at_least(0.9)})

    @seeds(3)
    @grid(lr=[1, 2])
    def exp_mlp(runner, seed, lr, architecture="none"):
        if lr == 3:
            raise ValueError("boom")
        assert lr > 0
        return {"metrics": {"auc": 0.1 * lr + seed / 100}}

    def exp_other():
        pass

    @criterion(exp_mlp)
    def crit_of_the_sweep(replicates):
        assert False
"""
STAGE = """
    handler: exp_a.py::exp_mlp
    architectures: [gnn, attention]
    hyperparameter_space: {lr: [1, 2]}
    seeds: [1, 2]
    success_criteria: {auc: {acceptable: 0.15, direction: at_least}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sessions.write(tmp_path, exp_a=EXPERIMENT, exp_b="raise RuntimeError('imported')")
    (tmp_path / "test_a.py").write_text("def test_a(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/one.yaml").write_text(textwrap.dedent(STAGE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return tmp_path


def test_replicates_whose_config_is_made_of_the_seed_are_of_one_variant(folder: Path) -> None:
    stage = StageConfig(
        name="seeded", handler="exp_a.py::exp_mlp", hyperparameter_space={"lr": [1, 2]}, seeds=3
    )
    config = {"architecture": "run-${seed}", "metric": {"of": "${lr}"}}

    result = ExperimentCoordinator().run_stage(stage, config)
    again = ExperimentCoordinator().run_stage(stage, config)

    assert [one["runs"] for one in result.summary["variants"]] == [3, 3]
    assert result.experiments[1].config["architecture"] == "run-1"
    report = yaml.safe_load((folder / "results/c1-a/stages/seeded.yaml").read_text())
    assert report["assessment"]["variants_judged"] == 2
    assert again.summary["kept"] == 6
    assert "architecture" not in result.best_config


def test_what_is_resumed_is_of_the_variant_that_its_stage_says_now(folder: Path) -> None:
    fields: dict[str, Any] = {"name": "out", "handler": "exp_a.py::exp_mlp"}
    coordinator = ExperimentCoordinator()

    coordinator.run_stage(StageConfig(**fields, seeds=1), {"architecture": "out/0", "lr": 1})
    result = coordinator.run_stage(
        StageConfig(**fields, seeds=3), {"architecture": "out/${seed}", "lr": 1}, resume=True
    )

    assert result.summary["kept"] == 1
    assert [one["runs"] for one in result.summary["variants"]] == [3]
    report = yaml.safe_load((folder / "results/c1-a/stages/out.yaml").read_text())
    assert report["assessment"]["variants_judged"] == 1


def test_a_stage_resumes_what_failed_and_keeps_what_is_done(folder: Path) -> None:
    stage = StageConfig(
        name="mine",
        handler="exp_a.py::exp_mlp",
        hyperparameter_space={"lr": [1, 2, 3]},
        seeds=[1, 2],
        metric="auc",
        direction="at_least",
    )
    coordinator = ExperimentCoordinator(storage="out")

    first = coordinator.run_stage(stage, {}, parallelism=2)
    second = coordinator.run_stage(stage, {}, parallelism=2, resume=True)

    assert (first.summary["completed"], first.summary["failed"], first.summary["kept"]) == (4, 2, 0)
    assert (second.summary["completed"], second.summary["kept"]) == (4, 4)
    assert [one.attempt for one in second.experiments] == [1, 1, 1, 1, 2, 2]
    assert [one.config for one in first.experiments][:2] == [
        {"lr": 1, "seed": 1},
        {"lr": 1, "seed": 2},
    ]
    assert second.best_config == {"lr": 2}
    assert second.summary["best"]["interval_95"] is not None
    assert second.started_at < second.completed_at


def test_the_same_stage_runs_under_pytest_and_leaves_a_report_of_its_own(folder: Path) -> None:
    ended = sessions.run(folder, ".", "--stage=stages/one.yaml")

    assert ended.code == 0, ended.text
    assert "10 passed" in ended.text  # eight runs, their thresholds, and an ordinary test
    assert "exp_mlp[architecture:attention-lr:2-seed:2]" in ended.text
    report = yaml.safe_load((folder / "results/c1-a/stages/one.yaml").read_text())
    assert report["success_criteria"]["auc_threshold"] == 0.15
    assert report["assessment"]["variants_met"] == 2
    assert not (folder / "results/c1-a/results.yaml").exists()


def test_a_stage_alone_collects_nothing_else(folder: Path) -> None:
    ended = sessions.run(folder, "--stage=stages/one.yaml", "--collect-only", "-q")

    assert ended.code == 0
    assert "test_a" not in ended.text
    assert ended.text.count("::exp_mlp[") == 8


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--stage=stages/two.yaml"], "stages/two.yaml cannot be read: No such file"),
        (["--stage=stages/one.yaml", "--seeds=3"], "change the stage instead"),
    ],
)
def test_a_stage_that_cannot_be_run_is_refused(
    folder: Path, arguments: list[str], told: str
) -> None:
    ended = sessions.run(folder, *arguments)

    assert ended.code == 4
    assert told in ended.text
