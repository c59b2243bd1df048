"""The blocks of the two pages that this package keeps the promises of, one test a block.

A test is called as the page's heading; what is quoted is as the page has it, but for import paths,
and for the backend: the blocks that name Modal run here on this machine.
"""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_gpuexp import ExperimentResult, StageResult, cli, tiers
from tests.behaviour import sessions

EXPERIMENT = """
    from pytest_gpuexp import experiment
    pytestmark = experiment("c1-vlm-latent-sufficiency")
    def e1_1_latent_visualization(runner):
        return {"finding": "clear", "metrics": {"silhouette_score": 0.72}}
    def e1_2_probes(runner):
        assert runner.seed == 0
"""
TRAIN = """
    def train(runner, learning_rate=1e-3, model=None, **config):
        layers = (model or {}).get("num_layers", 1)
        return {"metrics": {"val_loss": learning_rate + 1 / layers, "test_loss": 0.145}}
"""
GROUPS = {
    "models/gnn/standard": "name: gnn\nnum_layers: 2\n",
    "models/attention/multi_layer": "name: attention\nnum_layers: 2\n",
    "data/sbm_default": "nodes: 20\n",
}


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give what a block's names stand for, in a project of its own."""
    sessions.write(tmp_path, exp_c1=EXPERIMENT, train=TRAIN)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name, text in GROUPS.items():
        file = tmp_path / "exp_configs" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    config = {"_target_": "train.py::train", "run_id": "first", "seed": 1, "learning_rate": 0.1}
    return {
        "Path": Path,
        "config": config,
        "configs": [{**config, "run_id": f"run-{lr}", "learning_rate": lr} for lr in (0.1, 0.2)],
        "base_config": {"_target_": "train.py::train"},
    }


def execute(block: str, names: dict[str, Any]) -> dict[str, Any]:
    """Execute a block of a page where ``names`` are known, and return all names after it."""
    source = textwrap.dedent(block)
    source = source.replace("tmgg.experiment_utils.cloud", "pytest_gpuexp")
    source = source.replace('"modal"', '"local"')
    exec(compile(source, "page", "exec"), names)
    return names


def test_single_experiment(names: dict[str, Any]) -> None:
    block = """
        from tmgg.experiment_utils.cloud import CloudRunnerFactory

        runner = CloudRunnerFactory.create("modal")
        result = runner.run_experiment(config, gpu_type="standard")
    """

    result = execute(block, names)["result"]

    assert (result.run_id, result.status) == ("first", "completed")
    assert result.metrics == {"val_loss": 1.1, "test_loss": 0.145}


def test_sweeps(names: dict[str, Any]) -> None:
    block = """
        from tmgg.experiment_utils.cloud import CloudRunnerFactory

        runner = CloudRunnerFactory.create("modal")
        results = runner.run_sweep(
            configs,
            gpu_type="standard",
            parallelism=4,
            timeout_seconds=1800,
        )
        result = runner.run_experiment(config, gpu_type="fast")
    """

    after = execute(block, names)

    assert [one.run_id for one in after["results"]] == ["run-0.1", "run-0.2"]
    assert after["result"].status == "completed"


def test_gpu_tiers() -> None:
    minutes = {name: (tier.timeout_seconds or 0) / 60 for name, tier in tiers.TIERS.items()}

    assert minutes == {"debug": 10, "standard": 30, "fast": 60, "multi": 120, "h100": 60}
    assert tiers.TIERS["multi"].gpus == 2


def test_local_runner(names: dict[str, Any]) -> None:
    block = """
        from tmgg.experiment_utils.cloud import CloudRunnerFactory

        runner = CloudRunnerFactory.create("local", output_dir="./results")
        result = runner.run_experiment(config)
    """

    assert execute(block, names)["result"].status == "completed"
    assert Path("results/train/records/first.1.yaml").exists()


def test_experiment_coordinator_and_running_sweeps_and_resuming(names: dict[str, Any]) -> None:
    stage = """
        from tmgg.experiment_utils.cloud import ExperimentCoordinator, StageConfig

        stage = StageConfig(
            name="my_sweep",
            architectures=["models/gnn/standard", "models/attention/multi_layer"],
            datasets=["data/sbm_default"],
            hyperparameter_space={
                "learning_rate": [1e-4, 1e-3],
                "model.num_layers": [4, 8],
            },
            seeds=[1, 2, 3],
        )
        stage_config = stage
    """
    run = """
        from tmgg.experiment_utils.cloud import ExperimentCoordinator

        coordinator = ExperimentCoordinator(
            backend="modal",
            base_config_path=Path("exp_configs/"),
        )

        result = coordinator.run_stage(
            stage_config,
            base_config,
            parallelism=4,
            resume=True,
        )
    """
    resume = """
        again = coordinator.run_stage(
            stage_config,
            base_config,
            resume=True,
        )
    """
    execute(stage, names)

    after = execute(run, names)
    result = after["result"]

    # Summary statistics, as the page shows them.
    assert result.summary["total_experiments"] == 24
    assert (result.summary["completed"], result.summary["failed"]) == (24, 0)
    assert result.summary["success_rate"] == 1.0
    assert result.summary["mean_duration_seconds"] > 0
    assert result.summary["total_duration_seconds"] > 0
    assert result.best_config["learning_rate"] == 1e-4
    assert result.best_config["model"]["num_layers"] == 8
    assert result.best_metrics["val_loss"] == pytest.approx(0.1251)
    assert execute(resume, after)["again"].summary["kept"] == 24


def test_running_sweeps_without_a_folder_of_configs(names: dict[str, Any]) -> None:
    block = """
        from tmgg.experiment_utils.cloud import ExperimentCoordinator, StageConfig

        stage = StageConfig(name="my_sweep", architectures=["gnn"], seeds=[1, 2, 3])
        coordinator = ExperimentCoordinator(backend="modal")
        order = coordinator.plan(stage, base_config)
    """

    order = execute(block, names)["order"]

    assert [one.parameters for one in order.requests] == [{"architecture": "gnn"}] * 3


def test_result_types() -> None:
    experiment = {field.name for field in dataclasses.fields(ExperimentResult)}
    stage = {field.name for field in dataclasses.fields(StageResult)}

    assert experiment >= {
        "run_id",
        "config",
        "metrics",
        "checkpoint_path",
        "status",
        "error_message",
        "duration_seconds",
    }
    assert stage == {
        "stage_name",
        "experiments",
        "best_config",
        "best_metrics",
        "summary",
        "started_at",
        "completed_at",
    }


def test_via_hydra_cli(names: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    Path("stages").mkdir()
    Path("stages/stage2.yaml").write_text(
        "handler: train.py::train\nhyperparameter_space: {learning_rate: [0.1]}\n"
    )

    code = cli.main(["stage", "stage2", "run_on_modal=false", "learning_rate=1e-4,1e-3"])

    # The runs of the target have no asserts, and the stage has no criteria.
    assert (code, "nothing was evaluated" in capfd.readouterr().out) == (1, True)
    assert len(list(Path("results/train/records").iterdir())) == 2


def test_implementing_a_new_experiment_handler_and_results_format(names: dict[str, Any]) -> None:
    block = '''
        from pytest_gpuexp import ExperimentRunner
        plot_bytes = b"png"

        def e1_1_latent_visualization(runner: ExperimentRunner) -> dict:
            """Run latent space visualization sub-experiment."""

            # Your experiment code here
            # Use runner.log_metrics() for incremental logging
            # Use runner.results.get_artifact_path() for saving files

            return {
                "finding": "Latents show clear semantic clustering",
                "metrics": {
                    "silhouette_score": 0.72,
                },
                "artifacts": [
                    runner.results.save_artifact("tsne_plot.png", plot_bytes),
                ],
            }

        runner = ExperimentRunner("c1-vlm-latent-sufficiency")
        runner.register_handler("e1_1", e1_1_latent_visualization)
        runner.run_all()
    '''

    execute(block, names)

    found = yaml.safe_load(Path("results/c1-vlm-latent-sufficiency/results.yaml").read_text())
    assert (found["experiment_id"], found["status"]) == ("c1-vlm-latent-sufficiency", "completed")
    entry = found["results"]["experiments"]["e1_1"]
    assert {key: entry[key] for key in ("status", "finding", "metrics", "artifacts")} == {
        "status": "completed",
        "finding": "Latents show clear semantic clustering",
        "metrics": {"silhouette_score": 0.72},
        "artifacts": ["artifacts/tsne_plot.png"],
    }
    assert {"success_criteria_met", "confidence"} <= set(found["assessment"])
    assert found["recommendation"] == "investigate"  # no criterion says that it may proceed


def test_results_format_of_the_page_is_loaded_and_kept(names: dict[str, Any]) -> None:
    block = textwrap.dedent("""\
        experiment_id: c1-vlm-latent-sufficiency
        status: completed
        success_criteria:
          lpips_threshold: 0.35
          ssim_threshold: 0.75
        results:
          experiments:
            e1_1:
              status: completed
              finding: "Latents show clear semantic clustering"
              metrics:
                silhouette_score: 0.72
              artifacts:
                - artifacts/tsne_plot.png
        assessment:
          success_criteria_met: true
          lpips_achieved: 0.31
          confidence: high
        recommendation: proceed
    """)
    file = Path("results/c1-vlm-latent-sufficiency/results.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(block)

    execute(
        "from pytest_gpuexp import ExperimentRunner\n"
        'ExperimentRunner("c1-vlm-latent-sufficiency").finish()\n',
        names,
    )

    assert file.read_text() == block


def test_run_an_experiment(names: dict[str, Any]) -> None:
    """Run the harness with stub handlers, then a sub-experiment, by the page's own options."""
    experiment = ["run", "--experiment-id", "c1-vlm-latent-sufficiency"]

    stub = cli.main([*experiment, "--stub-mode"])
    one = cli.main([*experiment, "--sub-experiment", "e1_2"])

    assert (stub, one) == (0, 0)
    stubs = Path("results/.stub/c1-vlm-latent-sufficiency/records")
    assert len(list(stubs.iterdir())) == 2
    records = Path("results/c1-vlm-latent-sufficiency/records")
    assert [path.name.partition("-")[0] for path in records.iterdir()] == ["e1_2"]
