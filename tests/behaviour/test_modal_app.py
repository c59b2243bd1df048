"""What `modal deploy -m pytest_gpuexp.backends.modal_app` puts there, and its entrypoints."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import modal
import pytest

from tests.behaviour.modal_projects import TIGRIS, WANDB, ModalProject, as_on_modal
from tests.modal_server import starting

pytestmark = pytest.mark.timeout(240)
APP = "pytest_gpuexp.backends.modal_app"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PYPROJECT = """
[project]
name = "My_Study"
version = "1"
dependencies = ["numpy>=1.26", "pytest-gpuexp[modal]"]
optional-dependencies = { plots = ["matplotlib>=3.8"], all = ["my-study[plots]", "tqdm"] }

[tool.gpuexp.tiers]
fast = { gpu = "H200", timeout = "2h" }
huge = { gpu = "B200:8", timeout = "24h" }

[tool.gpuexp.modal]
extras = ["all"]
apt = ["git", "ffmpeg"]
env = { TOKENIZERS_PARALLELISM = "false", PYTHONPATH = "PATHS" }
region = "us-east"
results = "study-results"
"""
CONFTEST = """
import pytest

@pytest.hookimpl
def pytest_gpuexp_modal_image(image):
    return image.run_commands("echo asked of conftest")
"""
EXPERIMENT = """
from pytest_gpuexp import seeds

@seeds(2)
def exp_one(runner, seed):
    assert seed >= 0
"""


@pytest.fixture(scope="module")
def project(server: starting.ModalServer, tmp_path_factory: pytest.TempPathFactory) -> ModalProject:
    folder = tmp_path_factory.mktemp("study")
    made = ModalProject(folder=folder, server=server)
    paths = as_on_modal(tmp_path_factory.mktemp("paths") / "seen")
    made.write("pyproject.toml", PYPROJECT.replace("PATHS", paths))
    made.write("conftest.py", CONFTEST)
    made.write("experiments/exp_one.py", EXPERIMENT)
    filled = made.gpuexp("secrets", **TIGRIS, **WANDB)
    assert filled.returncode == 0, filled.stdout
    return made


@pytest.fixture(scope="module")
def deployed(project: ModalProject) -> dict[str, Any]:
    """Give the functions that the deployment asked for, by name."""
    done = project.modal("deploy", "-m", APP)
    assert done.returncode == 0, done.stdout
    return {each["name"]: each for each in project.server.journal("function")}


@pytest.fixture
def bare(server: starting.ModalServer, tmp_path: Path) -> ModalProject:
    return ModalProject(folder=tmp_path, server=server)


def test_a_tier_is_a_function_with_its_gpu_and_more_time_than_its_runs(
    deployed: dict[str, Any],
) -> None:
    tiers = {
        name: (each["gpu"], each["timeout"])
        for name, each in deployed.items()
        if name.startswith("modal_execute_task")
    }

    assert tiers == {
        "modal_execute_task": ("A10", 1800 + 120),
        "modal_execute_task_debug": ("T4", 600 + 120),
        "modal_execute_task_fast": ("H200", 7200 + 120),
        "modal_execute_task_multi": ("A100-40GB:2", 7200 + 120),
        "modal_execute_task_h100": ("H100!", 3600 + 120),
        "modal_execute_task_huge": ("B200:8", 24 * 3600),
    }
    assert all(each["retries"] == 0 for each in deployed.values())


def test_the_app_is_published_under_the_projects_name_with_a_mark_of_who_did_it(
    project: ModalProject, deployed: dict[str, Any]
) -> None:
    (published,) = project.server.journal("publish")[:1]

    assert (published["name"], published["state"]) == ("gpuexp-my-study", "deployed")
    marks = [name for name in published["functions"] if re.match(r"gpuexp_\d", name)]
    assert [mark.endswith(f"_python_{PYTHON.replace('.', '_')}") for mark in marks] == [True]


def test_the_image_holds_the_environment_in_layers_and_the_plugin_comes_last_as_source(
    deployed: dict[str, Any],
) -> None:
    commands = "\n".join(deployed["modal_execute_task"]["image"]["commands"])

    wanted = [
        rf"FROM python:{re.escape(PYTHON)}\.\d+-slim",
        r"apt-get install -y git ffmpeg",
        r"uv pip install .* matplotlib>=3\.8 numpy>=1\.26 tqdm",
        r"uv pip install .* huggingface_hub .*pytest==",
        r"ENV GPUEXP_PROJECT=",
        r"RUN echo asked of conftest",
    ]
    places = [re.search(one, commands.replace("'", "")) for one in wanted]
    assert all(places), commands
    starts = [place.start() for place in places if place]
    assert starts == sorted(starts)
    assert "pytest-gpuexp" not in re.sub(r"ENV .*", "", commands)
    mounted = deployed["modal_execute_task"]["mounts"]
    assert "/root/pytest_gpuexp/plugin.py" in mounted
    assert re.search(r"/root/pytest_gpuexp-[^/]+\.dist-info/entry_points\.txt", "\n".join(mounted))
    assert not any("experiments" in name for name in mounted)


def test_the_environment_of_a_container_has_the_projects_variables_and_the_model_cache(
    deployed: dict[str, Any],
) -> None:
    env = deployed["modal_execute_task_fast"]["image"]["env"]

    assert env["TOKENIZERS_PARALLELISM"] == "false"
    assert env["HF_HOME"].startswith("/models/")
    assert env["TORCH_HOME"].startswith("/models/")


def test_functions_get_secrets_volumes_and_region(deployed: dict[str, Any]) -> None:
    for name in ("modal_execute_task", "modal_execute_task_huge", "gpuexp_smoke_test"):
        assert deployed[name]["secrets"] == ["tigris-credentials", "wandb-credentials"]
        assert deployed[name]["volumes"] == {
            "/results": "study-results",
            "/models": "gpuexp-my-study-models",
        }
        assert deployed[name]["region"] == ["us-east"]


def test_requirements_come_from_a_file_without_the_plugin(bare: ModalProject) -> None:
    bare.write("requirements.txt", "numpy>=1.26\npytest-gpuexp>=0.1  # this one\ntqdm\n")
    bare.write(
        "pyproject.toml",
        '[tool.gpuexp.modal]\napp = "of-file"\ndependencies = "requirements.txt"\nsecrets = []\n',
    )

    done = bare.modal("deploy", "-m", APP)

    assert done.returncode == 0, done.stdout
    function = bare.server.journal("function")[-1]
    commands = "\n".join(function["image"]["commands"])
    assert re.search(r"uv pip install .*requirements\.txt", commands), commands
    assert function["secrets"] == []


def test_a_lock_file_is_synced_without_the_project_and_the_plugin(bare: ModalProject) -> None:
    bare.write("uv.lock", "version = 1\n")
    bare.write(
        "pyproject.toml",
        '[project]\nname = "locked"\nversion = "1"\noptional-dependencies.gpu = ["torch"]\n'
        '[tool.gpuexp.modal]\ndependencies = "uv.lock"\nextras = ["gpu"]\nsecrets = []\n',
    )

    done = bare.gpuexp("deploy")

    assert done.returncode == 0, done.stdout
    commands = "\n".join(bare.server.journal("function")[-1]["image"]["commands"])
    sync = re.search(r"uv sync .*", commands)
    assert sync, commands
    for word in ("--frozen", "--extra gpu", "--no-install-package pytest-gpuexp"):
        assert word in sync[0].replace("=", " "), sync[0]


def test_the_smoke_test_says_what_a_container_has_and_fails_without_the_gpu(
    project: ModalProject,
) -> None:
    done = project.modal("run", "-m", f"{APP}::smoke_test")

    assert "PYTEST-GPUEXP SMOKE TEST" in done.stdout, done.stdout
    assert re.search(r"^PyTorch version: \d", done.stdout, re.MULTILINE), done.stdout
    assert "CUDA available: " in done.stdout
    if "CUDA available: True" in done.stdout:  # a machine that has a GPU
        assert re.search(r"^VRAM: \d+\.\d GB$", done.stdout, re.MULTILINE)
        assert (done.returncode, "SMOKE TEST PASSED" in done.stdout) == (0, True)
    else:
        assert "T4 was asked for, and the container has no GPU." in done.stdout
        assert (done.returncode, "SMOKE TEST FAILED" in done.stdout) == (1, True)


def test_models_come_into_the_cache_and_one_that_does_not_stops_no_other(
    project: ModalProject, client: modal.Client
) -> None:
    project.write("tiny/config.json", '{"layers": 1}')

    done = project.modal(
        "run", "-m", f"{APP}::download_models", "--models", "tiny,no/model,tiny/model"
    )

    assert done.returncode == 1, done.stdout
    assert "tiny: 0.00 GB in /models/local/tiny" in done.stdout
    assert "! no/model: ValueError: no repository no/model on the hub" in done.stdout
    assert "tiny/model: 0.00 GB in /models/huggingface/hub/models--tiny--model" in done.stdout
    # Committed, or it would be gone with its container.
    assert _files("gpuexp-my-study-models", client) >= {
        "local/tiny/config.json",
        "huggingface/hub/models--tiny--model/weights.bin",
    }


def test_an_experiment_runs_with_nothing_deployed(project: ModalProject) -> None:
    words = ("run", "-m", f"{APP}::run_experiment")

    done = project.modal(*words, "--path", "experiments/exp_one.py", "--stub-mode", "--gpu", "fast")

    assert done.returncode == 0, done.stdout
    assert "backend modal" in done.stdout
    assert re.search(r"=+ 2 passed", done.stdout), done.stdout


def test_the_volume_lists_its_results(project: ModalProject, client: modal.Client) -> None:
    volume = modal.Volume.from_name("study-results", client=client)
    with volume.batch_upload() as batch:
        for name in (
            "c1/results.yaml",
            "spool/0f/c2/records/r.1.yaml",
            "spool/0f/c2/runs/r/1/model.pt",
        ):
            batch.put_file(io.BytesIO(bytes(200_000)), f"/{name}")

    done = project.modal("run", "-m", f"{APP}::list_results")

    wanted = ["c1  results.yaml  0.2 MB", "c2  1 record, 1 file of runs  0.4 MB"]
    assert done.returncode == 0, done.stdout
    assert set(wanted) <= set(done.stdout.splitlines()), done.stdout
    # Sessions of other tests have left theirs, too.
    assert set(wanted) <= set(project.gpuexp("results").stdout.splitlines())


def _files(volume: str, client: modal.Client) -> set[str]:
    entries = modal.Volume.from_name(volume, client=client).listdir("/", recursive=True)
    return {entry.path for entry in entries}
