"""The Modal app of a project: one function a tier, and what the seeds' commands start.

    modal deploy -m pytest_gpuexp.backends.modal_app
    modal run -m pytest_gpuexp.backends.modal_app::smoke_test

It holds the environment only; the project's code travels with each session. In a container this
module is imported again, and finds what was settled at the deployment in its environment.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import modal

from pytest_gpuexp import project, roots
from pytest_gpuexp.backends import (
    in_container,
    modal_door,
    modal_image,
    modal_names,
    modal_secrets,
    model_cache,
    smoke,
    volume_contents,
)
from pytest_gpuexp.backends.modal_image import MODELS, RESULTS
from pytest_gpuexp.errors import GpuexpError


def _settled() -> tuple[project.Project, modal.Image | None]:
    """Return the project, and where it is being deployed its image."""
    if not modal.is_local():
        return project.from_plain(json.loads(os.environ[modal_image.PROJECT])), None
    root = roots.project_root(Path.cwd())
    try:
        asked = project.read_project(root)
        with modal_door.opened(asked.modal):
            groups = modal_secrets.settle(asked.modal)
        settled = dataclasses.replace(asked, modal=dataclasses.replace(asked.modal, secrets=groups))
        return settled, modal_image.make_image(settled, root)
    except GpuexpError as error:
        if _is_asked_by_modals_command():  # which shows all but this as a traceback
            raise SystemExit(str(error)) from None
        raise


def _is_asked_by_modals_command() -> bool:
    import click  # comes with modal's client, not with its container runtime

    return click.get_current_context(silent=True) is not None


PROJECT, _IMAGE = _settled()
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
_SECRETS = [
    modal.Secret.from_name(
        name, required_keys=list(project.SECRET_KEYS.get(name, ())), environment_name=_ENVIRONMENT
    )
    for name in _SETTINGS.secrets
]
_VOLUMES: dict[Any, Any] = {RESULTS: results, MODELS: models}
_MARKER = modal_names.marker(_SETTINGS.python)
_SOURCE_MARKER = modal_names.source_marker(_SETTINGS.python)
_FETCH_SECONDS = 4 * 3600


def execute_task(task: str) -> str:
    """Execute one attempt; task and reply are JSON, see ``in_container``."""
    return in_container.execute(
        task,
        volume=results,
        claims=claims,
        call_id=modal.current_function_call_id() or "",
        folder=Path(RESULTS),
    )


TASKS: dict[str, Any] = {}
"""The functions that execute attempts, one a tier, by name."""
for _tier in PROJECT.tiers.values():
    TASKS[modal_names.function(_tier.name)] = app.function(
        name=modal_names.function(_tier.name),
        image=_IMAGE,
        gpu=modal_names.gpu(_tier),
        timeout=modal_names.function_timeout(_tier.timeout_seconds),
        region=_SETTINGS.region,
        volumes=_VOLUMES,
        secrets=_SECRETS,
    )(execute_task)


@app.function(name=_MARKER, image=_IMAGE, timeout=60)
def deployed_as() -> str:
    """Say by its name alone which plugin and which Python the app was deployed by."""
    return _MARKER


@app.function(name=_SOURCE_MARKER, image=_IMAGE, timeout=60)
def deployed_from() -> str:
    """Say by its name alone from which source of the plugin the app was deployed."""
    return _SOURCE_MARKER


@app.function(
    name="gpuexp_smoke_test",
    image=_IMAGE,
    gpu=modal_names.gpu(PROJECT.tiers["debug"]),
    timeout=600,
    region=_SETTINGS.region,
    volumes=_VOLUMES,
    secrets=_SECRETS,
)
def look_around() -> str:
    """Return as JSON what a container of the debug tier offers."""
    return json.dumps(smoke.look_around())


@app.function(
    name="gpuexp_download_models",
    image=_IMAGE,
    timeout=_FETCH_SECONDS,
    volumes=_VOLUMES,
    secrets=_SECRETS,
)
def fetch_models(names: str) -> str:
    """Bring models into the cache; names and what came of each are JSON."""
    return json.dumps(model_cache.fetch(json.loads(names), models))


def show_container() -> smoke.Shown:
    """Return what a container of the debug tier offers, as text; the app must be running."""
    found = json.loads(look_around.remote())
    return smoke.show(found, asked=modal_names.gpu(PROJECT.tiers["debug"]))


def bring_models(text: str) -> tuple[str, bool]:
    """Bring the models ``a,b`` into the cache; return what came of each, and whether all are there.

    Without any, those that the project names are brought. The app must be running.
    """
    here, there = model_cache.split(text, _SETTINGS.download_models)
    told = model_cache.send(here, models, mounted=MODELS) if here else {}
    told |= json.loads(fetch_models.remote(json.dumps(there))) if there else {}
    return model_cache.describe(told)


@app.local_entrypoint()
def smoke_test() -> None:
    """Show that a container starts, and what it has."""
    shown = show_container()
    print(shown.text)
    if not shown.passed:
        raise SystemExit(1)


@app.local_entrypoint()
def download_models(models: str = "") -> None:
    """Bring ``--models a,b``, or the project's, into the cache, from the hub or a folder here."""
    try:
        text, complete = bring_models(models)
    except GpuexpError as error:
        raise SystemExit(str(error)) from None
    print(text)
    if not complete:
        raise SystemExit(1)


@app.local_entrypoint()
def run_experiment(
    experiment_id: str = "",
    sub_experiment: str = "",
    stub_mode: bool = False,
    gpu: str = "",
    deployed: bool = False,
    path: str = "experiments",
) -> None:
    """Run an experiment as ``pytest PATH --backend=modal`` does, whatever is deployed.

    With ``--deployed`` it runs in the deployed app.
    """
    words = modal_names.pytest_words(
        path,
        experiment_id=experiment_id,
        sub_experiment=sub_experiment,
        gpu=gpu,
        stub_mode=stub_mode,
        deployed=deployed,
    )
    done = subprocess.run([sys.executable, "-m", "pytest", *words], check=False)
    raise SystemExit(done.returncode)


@app.local_entrypoint()
def list_results() -> None:
    """List what experiments have left on the results volume."""
    print(volume_contents.listing(results.iterdir("/", recursive=True)))
