"""The page "Modal GPU Infrastructure", command by command, as it stands, on a server.

A test is called as the page's heading. The page's ``infra/modal/app.py`` is a file of one line in
the project; what is nobody's to type, as ``<your-key>``, stands for a word.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import Any

import modal
import pytest
import yaml

from pytest_gpuexp import costs
from pytest_gpuexp.records import RunSpec
from tests.behaviour import reference_pages
from tests.behaviour.modal_projects import ModalProject, as_on_modal
from tests.behaviour.reference_pages import Page
from tests.modal_server import starting

pytestmark = pytest.mark.timeout(150)
APP = "from pytest_gpuexp.backends.modal_app import *\n"
EXPERIMENT = """
from pytest_gpuexp import experiment

pytestmark = experiment("c1-vlm-latent-sufficiency")

def e1_1_latent_visualization(runner):
    runner.log_metrics({"silhouette_score": 0.72})

def e1_2_probes(runner):
    assert runner.seed == 0
"""
PYPROJECT = """
[project]
name = "foresight"
version = "1"

[tool.gpuexp.modal]
secrets = ["wandb-credentials"]
env = { PYTHONPATH = "PATHS" }
results = "foresight-results"
models = "foresight-model-cache"
download_models = ["tiny/model"]

[tool.gpuexp.tiers]
standard = { gpu = "A10G" }
long = { gpu = "A100", timeout = "12h" }
"""


@pytest.fixture(scope="module")
def page(server: starting.ModalServer, tmp_path_factory: pytest.TempPathFactory) -> Page:
    made = ModalProject(folder=tmp_path_factory.mktemp("foresight"), server=server)
    paths = as_on_modal(tmp_path_factory.mktemp("paths") / "seen")
    made.write("pyproject.toml", PYPROJECT.replace("PATHS", paths))
    made.write("infra/modal/app.py", APP)
    made.write("experiments/exp_c1.py", EXPERIMENT)
    commands = reference_pages.write_commands(tmp_path_factory.mktemp("commands") / "bin")
    return Page(project=made, commands=commands, folder=made.folder)


@pytest.fixture(scope="module")
def secrets(page: Page) -> subprocess.CompletedProcess[str]:
    """Give what the page's first step said."""
    block = """
        # Get your key from https://wandb.ai/authorize
        modal secret create wandb-api-key WANDB_API_KEY=<your-key>
    """
    return page.bash(block.replace("<your-key>", "your-key"))


def test_set_up_secrets_and_secret_not_found(
    page: Page, secrets: subprocess.CompletedProcess[str]
) -> None:
    assert secrets.returncode == 0, secrets.stdout
    assert page.journal("secret")[0]["name"] == "wandb-api-key"
    checked = page.bash("gpuexp secrets --check", WANDB_API_KEY="your-key")
    assert checked.returncode == 0, checked.stdout


def test_run_smoke_test(page: Page, secrets: subprocess.CompletedProcess[str]) -> None:
    block = """
        modal run infra/modal/app.py::smoke_test
    """

    told = page.bash(block).stdout

    assert "PYTEST-GPUEXP SMOKE TEST" in told, told  # the page's is Foresight's
    assert re.search(r"^PyTorch version: \d+\.\d+", told, re.MULTILINE), told
    assert re.search(r"^CUDA available: (True|False)$", told, re.MULTILINE), told
    if "CUDA available: True" in told:
        assert re.search(r"^GPU: .*\nVRAM: \d+\.\d GB$", told, re.MULTILINE), told
        assert "SMOKE TEST PASSED" in told
    else:
        assert "SMOKE TEST FAILED" in told


def test_download_models_first_time(
    page: Page, secrets: subprocess.CompletedProcess[str], client: modal.Client
) -> None:
    block = """
        modal run infra/modal/app.py::download_models
    """

    done = page.bash(block)

    assert done.returncode == 0, done.stdout
    assert "tiny/model: 0.00 GB in /models/huggingface/hub/models--tiny--model" in done.stdout
    cache = modal.Volume.from_name("foresight-model-cache", client=client)
    assert any("tiny" in entry.path for entry in cache.listdir("/", recursive=True))


def test_run_an_experiment(page: Page, secrets: subprocess.CompletedProcess[str]) -> None:
    stub = """
        # Test the harness with stub handlers (no real GPU work)
        modal run infra/modal/app.py::run_experiment --experiment-id c1-vlm-latent-sufficiency --stub-mode
    """  # noqa: E501
    full = """
        # Run full experiment (once handlers are implemented)
        modal run infra/modal/app.py::run_experiment --experiment-id c1-vlm-latent-sufficiency
    """
    sub = """
        # Run specific sub-experiment
        modal run infra/modal/app.py::run_experiment --experiment-id c1-vlm-latent-sufficiency --sub-experiment e1_2
    """  # noqa: E501
    results = page.project.folder / "results"

    rehearsed = page.bash(stub)
    assert rehearsed.returncode == 0, rehearsed.stdout
    assert _ran(results / ".stub") == ["e1_1", "e1_2"]
    assert _ran(results) == []
    one = page.bash(sub)
    assert one.returncode == 0, one.stdout
    assert _ran(results) == ["e1_2"]
    both = page.bash(full)
    assert both.returncode == 0, both.stdout
    assert _ran(results) == ["e1_1", "e1_2", "e1_2"]


def test_check_results(page: Page, secrets: subprocess.CompletedProcess[str]) -> None:
    block = """
        modal run infra/modal/app.py::list_results
    """

    done = page.bash(block)

    assert done.returncode == 0, done.stdout
    assert "c1-vlm-latent-sufficiency  results.yaml" in done.stdout


def test_results_are_saved_in_the_format_of_the_page(page: Page) -> None:
    file = page.project.folder / "results/c1-vlm-latent-sufficiency/results.yaml"

    found: dict[str, Any] = yaml.safe_load(file.read_text())

    assert found["experiment_id"] == "c1-vlm-latent-sufficiency"
    assert found["results"]["experiments"]["e1_1"]["metrics"] == {"silhouette_score": 0.72}


def test_gpu_options_and_timeout(page: Page) -> None:
    """The page edits ``app.py``; here pyproject.toml says which GPU and how long."""
    asked = {each["name"]: each for each in page.journal("function")}

    assert asked["modal_execute_task"]["gpu"] == "A10G"  # Modal's older names, which it still takes
    assert asked["modal_execute_task_long"]["gpu"] == "A100"
    assert asked["modal_execute_task_long"]["timeout"] >= 3600 * 12


def test_costs() -> None:
    spec = RunSpec(
        experiment_id="c1",
        handler="e1_1",
        function="e1_1",
        path="exp_c1.py",
        name="e1_1",
        parameters={},
        seed=0,
        run_id="r",
        timeout_seconds=4 * 3600,
    )
    worst = {
        gpu: costs.worst_case([dataclasses.replace(spec, tier=gpu)], tiers={}, default="")
        for gpu in ("A10G", "A100", "H100")
    }

    assert worst == pytest.approx({"A10G": 4.40, "A100": 8.40, "H100": 15.80})  # as of 2026


def test_volumes_and_volume_not_found(page: Page, client: modal.Client) -> None:
    """They are made on first use, under the page's names."""
    names = {one.name for one in modal.Volume.objects.list(client=client)}

    assert {"foresight-results", "foresight-model-cache"} <= names


def _ran(folder: Path) -> list[str]:
    records = folder.glob("c1-vlm-latent-sufficiency/records/*.yaml")
    return sorted(path.name.partition("-")[0] for path in records)
