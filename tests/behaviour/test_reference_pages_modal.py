"""The experiments, sweeps and stages of the page "Cloud Execution", on Modal, as they stand.

A test is called as the page's heading. What is quoted is as the page has it, but for import paths.
The page's project is a clone of this repository, whose app is deployed once.
"""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from pytest_gpuexp import (
    CloudRunnerFactory,
    ExperimentCoordinator,
    ExperimentResult,
    ModalRunner,
    StageConfig,
    tiers,
)
from pytest_gpuexp.errors import UsageProblems
from tests.behaviour import reference_pages, sessions
from tests.behaviour.reference_pages import DOPPLER, PYPROJECT, Page
from tests.modal_server import starting

pytestmark = pytest.mark.timeout(150)


@pytest.fixture(scope="module")
def page(server: starting.ModalServer, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return reference_pages.clone(server, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def deployed(page: Page) -> subprocess.CompletedProcess[str]:
    """Give what the page's own command for it said."""
    return page.bash("mise run modal-deploy", **DOPPLER)


@pytest.fixture
def names(
    page: Page, deployed: subprocess.CompletedProcess[str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Give what a block's names stand for, where Modal is the server."""
    assert deployed.returncode == 0, deployed.stdout
    monkeypatch.chdir(page.project.folder)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    for name, value in {**page.project.server.environ, **sessions.alone([])}.items():
        monkeypatch.setenv(name, value)
    return reference_pages.names()


def test_single_experiment(names: dict[str, Any]) -> None:
    block = """
        from tmgg.experiment_utils.cloud import CloudRunnerFactory

        runner = CloudRunnerFactory.create("modal")
        result = runner.run_experiment(config, gpu_type="standard")
    """

    result = reference_pages.execute(block, names)["result"]

    assert (result.run_id, result.status) == ("first", "completed"), result.error_message
    assert result.metrics == {"val_loss": 1.1, "test_loss": 0.145}


def test_via_hydra_cli(page: Page, names: dict[str, Any]) -> None:
    """Run the page's script, which is ``gpuexp stage stage2`` here."""
    block = """
        uv run tmgg-stage2 run_on_modal=true
    """
    stages = page.project.folder / "stages"
    stages.mkdir()
    (stages / "stage2.yaml").write_text(
        "handler: train.py::train\nhyperparameter_space: {learning_rate: [0.1, 0.2]}\n"
        "success_criteria: {val_loss: {acceptable: 2, direction: at_most}}\n"
    )

    done = dataclasses.replace(page, folder=page.project.folder).bash(block)

    assert done.returncode == 0, done.stdout
    assert "backend modal" in done.stdout
    assert "stage stage2: 2 runs" in done.stdout


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
    """

    results = reference_pages.execute(block, names)["results"]

    assert [one.run_id for one in results] == ["run-0.1", "run-0.2"]
    assert [one.status for one in results] == ["completed"] * 2


def test_gpu_tiers(page: Page, names: dict[str, Any]) -> None:
    block = """
        result = runner.run_experiment(config, gpu_type="fast")
    """
    table = {  # GPUs by Modal's names of today: A10G is A10, and an H100 is never an H200
        "debug": ("T4", 10),
        "standard": ("A10", 30),
        "fast": ("A100-40GB", 60),
        "multi": ("A100-40GB:2", 120),
        "h100": ("H100!", 60),
    }
    names = {**names, "runner": CloudRunnerFactory.create("modal")}
    names["config"] = {**names["config"], "run_id": "fast-one"}

    result: ExperimentResult = reference_pages.execute(block, names)["result"]

    assert result.status == "completed", result.error_message
    functions = {each["name"]: each["gpu"] for each in page.journal("function")}
    for name, (gpu, minutes) in table.items():
        suffix = "" if name == "standard" else f"_{name}"
        assert functions[f"modal_execute_task{suffix}"] == gpu
        assert tiers.TIERS[name].timeout_seconds == 60 * minutes


def test_experiment_coordinator(names: dict[str, Any]) -> None:
    block = """
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
    names["stage_config"] = StageConfig(name="one", architectures=["models/gnn/standard"], seeds=2)

    result = reference_pages.execute(block, names)["result"]

    assert result.stage_name == "one"
    assert result.summary["completed"] == 2
    assert result.best_config["model"] == {"name": "gnn", "num_layers": 2}


def test_running_sweeps(names: dict[str, Any]) -> None:
    block = """
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

        coordinator = ExperimentCoordinator(backend="modal")
        result = coordinator.run_stage(stage, base_config, parallelism=8)
    """

    result = reference_pages.execute(block, names)["result"]

    assert result.summary["total_experiments"] == result.summary["completed"] == 24
    first = result.experiments[0].parameters
    assert first["architecture"] == "models/gnn/standard"  # no folder of configs was named
    assert result.best_metrics["val_loss"] == pytest.approx(0.1251)


def test_a_config_survives_the_way_to_a_container(page: Page, names: dict[str, Any]) -> None:
    """Not the page's: what it takes for granted of a config with interpolations and paths."""
    folder = page.project.folder
    (folder / "data").mkdir()
    (folder / "data/words.txt").write_text("it is here")
    (folder / "reading.py").write_text(
        "from pathlib import Path\n"
        "def read(config, data):\n"
        "    assert Path(data['file']).read_text() == 'it is here'\n"
        "    assert config['name'] == f\"run-{config['seed']}\"\n"
        "    return {'metrics': {'layers': config['model']['layers']}}\n"
    )
    base = OmegaConf.create(
        {
            "_target_": "reading.read",
            "root": str(folder / "data"),
            "data": {"file": "${root}/words.txt"},
            "model": {"layers": "${depth}"},
            "name": "run-${seed}",
        }
    )
    stage = StageConfig(name="far", hyperparameter_space={"depth": [2, 3]}, seeds=2)

    result = ExperimentCoordinator(backend="modal").run_stage(stage, base)

    assert [one.error_message for one in result.experiments] == [None] * 4
    assert {one.verdict for one in result.experiments} == {"pass"}
    assert [one.metrics["layers"] for one in result.experiments] == [2, 2, 3, 3]
    assert len(result.summary["variants"]) == 2


def test_modal_app_not_deployed(page: Page, names: dict[str, Any], tmp_path: Path) -> None:
    reference_pages.write_project(tmp_path)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace("pytest-gpuexp", "elsewhere"))
    with pytest.raises(UsageProblems, match=r"Modal app not deployed: .*gpuexp deploy") as caught:
        ModalRunner(folder=tmp_path).run_experiment(names["config"])

    assert "mise run modal-deploy" in str(caught.value)
