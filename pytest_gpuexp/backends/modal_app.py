"""The Modal app of a project: one function a tier, and what the seeds' commands start.

    modal deploy -m pytest_gpuexp.backends.modal_app
    modal run -m pytest_gpuexp.backends.modal_app::smoke_test

It holds the environment only; the project's code travels with each session. In a container this
module is imported again, and finds what was settled at the deployment in its environment.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import modal

from pytest_gpuexp import project
from pytest_gpuexp.backends import in_container, modal_image, modal_names
from pytest_gpuexp.backends.modal_image import MODELS, RESULTS


def _settled() -> project.Project:
    told = os.environ.get(modal_image.PROJECT)
    return project.from_plain(json.loads(told)) if told else project.read_project(Path.cwd())


PROJECT = _settled()
_SETTINGS = PROJECT.modal
_ENVIRONMENT = _SETTINGS.environment

app = modal.App(_SETTINGS.app)
results = modal.Volume.from_name(
    _SETTINGS.results, create_if_missing=True, environment_name=_ENVIRONMENT
)
models = modal.Volume.from_name(
    _SETTINGS.models, create_if_missing=True, environment_name=_ENVIRONMENT
)
claims = modal.Dict.from_name(
    modal_names.claims(_SETTINGS), create_if_missing=True, environment_name=_ENVIRONMENT
)
image = modal_image.make_image(PROJECT, Path.cwd()) if modal.is_local() else None
_SECRETS = [
    modal.Secret.from_name(
        name, required_keys=list(project.SECRET_KEYS.get(name, ())), environment_name=_ENVIRONMENT
    )
    for name in _SETTINGS.secrets
]
_VOLUMES: dict[Any, Any] = {RESULTS: results, MODELS: models}


def execute_task(task: str) -> str:
    """Execute one attempt; task and reply are JSON, see ``in_container``."""
    return in_container.execute(
        task,
        volume=results,
        claims=claims,
        call_id=modal.current_function_call_id() or "",
        folder=Path(RESULTS),
    )


for _tier in PROJECT.tiers.values():
    app.function(
        name=modal_names.function(_tier.name),
        image=image,
        gpu=modal_names.gpu(_tier),
        timeout=modal_names.function_timeout(_tier.timeout_seconds),
        region=_SETTINGS.region,
        volumes=_VOLUMES,
        secrets=_SECRETS,
    )(execute_task)


@app.function(name=modal_names.marker(_SETTINGS.python), image=image, timeout=60)
def deployed_as() -> str:
    """Say by its name alone which plugin and which Python the app was deployed by."""
    return modal_names.marker(_SETTINGS.python)


@app.function(
    name="gpuexp_smoke_test",
    image=image,
    gpu=modal_names.gpu(PROJECT.tiers["debug"]),
    timeout=600,
    volumes=_VOLUMES,
)
def look_around() -> dict[str, Any]:
    """Return what a container of the debug tier offers."""
    return in_container.look_around()


@app.function(name="gpuexp_download_models", image=image, timeout=4 * 3600, volumes=_VOLUMES)
def fetch_models(names: list[str]) -> dict[str, int]:
    """Bring models into the cache; return their bytes by name."""
    return in_container.fetch_models(names, volume=models, cache=Path(MODELS))


@app.local_entrypoint()
def smoke_test() -> None:
    """Show that a container starts, and what it has."""
    print(modal_names.describe(look_around.remote()))


@app.local_entrypoint()
def download_models(models: str = "") -> None:
    """Bring ``--models a,b`` into the model cache, from the Hugging Face hub or a folder."""
    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names:
        raise SystemExit(
            "Name the models: --models Qwen/Qwen2.5-VL-7B-Instruct,Lightricks/LTX-Video"
        )
    for name, size in fetch_models.remote(names).items():
        print(f"{name}: {size / 1e9:.2f} GB")


@app.local_entrypoint()
def run_experiment(
    experiment_id: str = "",
    sub_experiment: str = "",
    stub_mode: bool = False,
    path: str = "experiments",
) -> None:
    """Run an experiment on the deployed app, as ``pytest PATH --backend=modal`` does."""
    import subprocess
    import sys

    chosen = [f"--experiment-id={experiment_id}"] if experiment_id else []
    chosen += [f"--sub-experiment={sub_experiment}"] if sub_experiment else []
    chosen += ["--stub-mode"] if stub_mode else []
    words = [sys.executable, "-m", "pytest", path, "--backend=modal", *chosen]
    raise SystemExit(subprocess.run(words, check=False).returncode)


@app.local_entrypoint()
def list_results() -> None:
    """List what experiments have left on the results volume."""
    print(modal_names.listing(results.listdir("/", recursive=True)))
