"""The two pages that this package keeps the promises of, block by block, where Modal is not needed.

A test is called as the page's heading. What is quoted is as the page has it, but for import paths.
The other blocks are in ``test_reference_pages_modal.py`` and ``test_reference_pages_gpu.py``.
"""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path
from typing import Any

import modal
import pytest
import yaml

import pytest_gpuexp
from pytest_gpuexp import (
    ExperimentCoordinator,
    ExperimentResult,
    ExperimentRunner,
    StageConfig,
    StageResult,
)
from pytest_gpuexp.storage import local, tigris
from tests.behaviour import reference_pages, sessions


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give what a block's names stand for, in a project of its own."""
    reference_pages.write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    for name, value in {"CUDA_VISIBLE_DEVICES": "", **sessions.alone([])}.items():
        monkeypatch.setenv(name, value)
    return reference_pages.names()


def test_architecture() -> None:
    """Find each box of the page's picture under its name."""
    runners = {"CloudRunnerFactory", "LocalRunner", "ModalRunner", "ExperimentRunner"}

    assert runners <= set(pytest_gpuexp.__all__)
    assert all(hasattr(pytest_gpuexp, name) for name in runners)
    assert hasattr(local, "LocalStorage")
    assert hasattr(tigris, "TigrisStorage")


def test_components() -> None:
    """Find the three rooms of the other page's runner: configuration, results, runner."""
    from pytest_gpuexp import registry, runner, written_results

    assert {"read_registry"} <= set(vars(registry))
    assert {"ResultsWriter"} <= set(vars(written_results))
    assert {"ExperimentRunner"} <= set(vars(runner))


def test_local_runner(names: dict[str, Any]) -> None:
    block = """
        from tmgg.experiment_utils.cloud import CloudRunnerFactory

        runner = CloudRunnerFactory.create("local", output_dir="./results")
        result = runner.run_experiment(config)
    """

    assert reference_pages.execute(block, names)["result"].status == "completed"
    assert Path("results/train/records/first.1.yaml").exists()


def test_resuming_interrupted_sweeps(names: dict[str, Any]) -> None:
    block = """
        result = coordinator.run_stage(
            stage_config,
            base_config,
            resume=True,
        )
    """
    names["coordinator"] = ExperimentCoordinator(backend="local", base_config_path="exp_configs")
    names["stage_config"] = StageConfig(
        name="resumed", architectures=["models/gnn/standard"], seeds=3
    )
    first = reference_pages.execute(block, names)["result"]
    newest = max(Path("results/train/records").iterdir(), key=lambda path: path.name)
    newest.unlink()  # as if the session had been interrupted before it

    result = reference_pages.execute(block, names)["result"]

    assert (first.summary["kept"], first.summary["completed"]) == (0, 3)
    assert (result.summary["kept"], result.summary["completed"]) == (2, 3)


def test_experiment_result(names: dict[str, Any]) -> None:
    block = """
        @dataclass
        class ExperimentResult:
            run_id: str
            config: dict
            metrics: dict          # {"val_loss": 0.123, "test_loss": 0.145}
            checkpoint_path: str | None
            status: str            # "completed", "failed", "timeout"
            error_message: str | None
            duration_seconds: float
    """
    page = reference_pages.execute(block, {"dataclass": dataclasses.dataclass})["ExperimentResult"]

    wanted = {field.name for field in dataclasses.fields(page)}

    assert wanted <= {field.name for field in dataclasses.fields(ExperimentResult)}


def test_stage_result() -> None:
    block = """
        @dataclass
        class StageResult:
            stage_name: str
            experiments: list[ExperimentResult]
            best_config: dict
            best_metrics: dict
            summary: dict
            started_at: str
            completed_at: str
    """
    known = {"dataclass": dataclasses.dataclass, "ExperimentResult": ExperimentResult}
    page = reference_pages.execute(block, known)["StageResult"]

    wanted = [field.name for field in dataclasses.fields(page)]

    assert wanted == [field.name for field in dataclasses.fields(StageResult)]


def test_stage_result_summary(names: dict[str, Any]) -> None:
    block = """
        result.summary = {
            "total_experiments": 24,
            "completed": 22,
            "failed": 2,
            "success_rate": 0.917,
            "mean_duration_seconds": 342.5,
            "total_duration_seconds": 7535.0,
        }
    """
    names["result"] = ExperimentCoordinator().run_stage(
        StageConfig(name="told", hyperparameter_space={"learning_rate": [0.1, "x"]}),
        names["base_config"],
    )
    ours = dict(names["result"].summary)

    page = reference_pages.execute(block, names)["result"].summary

    assert page.keys() <= ours.keys()
    assert (ours["total_experiments"], ours["completed"], ours["failed"]) == (2, 1, 1)
    assert ours["success_rate"] == 0.5
    assert ours["total_duration_seconds"] >= ours["mean_duration_seconds"] > 0


HANDLER = '''
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
'''


def test_implementing_a_new_experiment_handler(names: dict[str, Any]) -> None:
    known = {**names, "ExperimentRunner": ExperimentRunner, "plot_bytes": b"png"}

    handler = reference_pages.execute(HANDLER, known)["e1_1_latent_visualization"]

    runner = ExperimentRunner("c1-vlm-latent-sufficiency")
    runner.register_handler("e1_1", handler)
    result = runner.run_sub_experiment("e1_1")
    assert (result.status, result.metrics) == ("completed", {"silhouette_score": 0.72})
    assert [one.name for one in result.artifacts] == ["tsne_plot.png"]


def test_register_handlers_in_the_experiment_runner(names: dict[str, Any]) -> None:
    block = """
        runner = ExperimentRunner("c1-vlm-latent-sufficiency")
        runner.register_handler("e1_1", e1_1_latent_visualization)
        runner.run_all()
    """
    known = {**names, "ExperimentRunner": ExperimentRunner, "plot_bytes": b"png"}

    reference_pages.execute(block, reference_pages.execute(HANDLER, known))

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


def test_timeout() -> None:
    """Give a function of an app of the user's own more time, as the page does."""
    block = """
        @app.function(timeout=3600 * 12)  # 12 hours
        def train(): ...
    """

    after = reference_pages.execute(block, {"app": modal.App("own")})

    assert isinstance(after["train"], modal.Function)


def test_results_format(names: dict[str, Any]) -> None:
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

    reference_pages.execute(
        "from pytest_gpuexp import ExperimentRunner\n"
        'ExperimentRunner("c1-vlm-latent-sufficiency").finish()\n',
        names,
    )

    assert file.read_text() == block
