"""Puts a project's app on Modal, and starts it for a moment."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pytest_gpuexp import project, roots
from pytest_gpuexp.backends import modal_door, modal_failures, modal_names, volume_contents
from pytest_gpuexp.errors import BackendUnavailable, UsageProblems
from pytest_gpuexp.project import Modal, Project
from pytest_gpuexp.tiers import Tier

APP = "pytest_gpuexp.backends.modal_app"
LEAST_DAYS = 8  # Modal keeps replies for 7, and what they speak of must be there
_T = TypeVar("_T")


def read_here() -> Project:
    """Return the project of the folder that we were started in.

    Raises:
        UsageProblems: its pyproject.toml says what has no meaning.
    """
    return project.read_project(roots.project_root(Path.cwd()))


def load() -> Any:
    """Return the module of the app, with which secrets and image of this project are settled.

    Raises:
        GpuexpError: Modal cannot be used, or lacks secrets, or pyproject.toml asks for what is not
            there.
    """
    modal_door.check_client()
    # Not at the top: it imports modal, and defines the app of the folder that we are in.
    return importlib.import_module(APP)


def deploy() -> str:
    """Deploy the app; return what is there now, as text.

    Raises:
        BackendUnavailable: it could not be deployed; the error says why and what to do.
    """
    loaded = load()
    with _failing_clearly(loaded.PROJECT.modal):
        loaded.app.deploy(environment_name=loaded.PROJECT.modal.environment)
    return describe(loaded.PROJECT)


def within(act: Callable[[Any], _T]) -> _T:
    """Return what ``act`` gives, called with the module of the app while the app runs.

    The app is the project's as it is here; what is deployed does not matter, and stays.

    Raises:
        BackendUnavailable: it could not be started.
    """
    loaded = load()
    settings = loaded.PROJECT.modal
    with (
        _failing_clearly(settings),
        loaded.app.run(environment_name=settings.environment),
    ):
        return _acted(act, loaded)


def list_results(settings: Modal) -> str:
    """Return what sessions have left on the results volume, an experiment a line.

    Raises:
        BackendUnavailable: Modal cannot be used.
    """
    with modal_door.opened(settings):
        import modal

        volume = modal.Volume.from_name(settings.results, environment_name=settings.environment)
        return volume_contents.listing(_entries(volume))


def prune(settings: Modal, *, days: int, now: float) -> str:
    """Remove what has passed through the results volume and is ``days`` days old; say what went.

    ``now`` is in Unix seconds.

    Raises:
        UsageProblems: it may still be needed.
        BackendUnavailable: Modal cannot be used.
    """
    if days < LEAST_DAYS:
        raise UsageProblems(
            "gpuexp results",
            [f"--prune {days}: sessions fetch what is up to 7 days old; say {LEAST_DAYS} or more"],
        )
    with modal_door.opened(settings):
        import modal

        volume = modal.Volume.from_name(settings.results, environment_name=settings.environment)
        size = volume_contents.remove_stale(
            lambda name: _entries(volume, name),
            lambda name: volume.remove_file(name, recursive=True),
            before=now - days * 86400,
        )
    return f"removed {size / 1e6:.1f} MB that nobody has changed for {days} days"


def describe(deployed: Project) -> str:
    """Return what the app of ``deployed`` consists of, as text."""
    settings = deployed.modal
    where = f" in environment {settings.environment}" if settings.environment else ""
    version = importlib.metadata.version(modal_names.DISTRIBUTION)
    width = max(map(len, deployed.tiers))
    return "\n".join(
        [
            f"Deployed {settings.app}{where}: Python {settings.python}, pytest-gpuexp {version}",
            *(f"  {_told(tier, width)}" for tier in deployed.tiers.values()),
            f"  secrets: {', '.join(settings.secrets) or 'none'}",
            f"  volumes: {settings.results}, {settings.models}",
            "Run experiments there with: pytest experiments/ --backend=modal",
        ]
    )


def _acted(act: Callable[[Any], _T], loaded: Any) -> _T:
    import modal

    try:
        return act(loaded)
    except (modal.exception.AuthError, modal.exception.ConnectionError):
        raise  # the door knows what to say
    except modal.exception.Error as error:
        text = " ".join(str(error).split())
        raise BackendUnavailable(
            f"the container failed: {type(error).__name__}: {text}. See its log with: modal app "
            "logs"
        ) from None


def _told(tier: Tier, width: int) -> str:
    limit = "no limit of its own"
    if tier.timeout_seconds is not None:
        limit = f"{tier.timeout_seconds / 60:g} min"
    gpu, name = modal_names.gpu(tier), modal_names.function(tier.name)
    return f"{tier.name:<{width}}  {gpu:<12}  {limit:>8}  {name}"


def _entries(volume: Any, name: str = "") -> Iterable[Any]:
    import modal

    try:
        yield from volume.iterdir(f"/{name}", recursive=True)
    except modal.exception.NotFoundError:  # nobody has made the volume, or it is gone from there
        return


@contextmanager
def _failing_clearly(settings: Modal) -> Iterator[None]:
    """Show modal's progress; say what its errors mean and what to do."""
    import modal

    with modal_door.opened(settings), modal.enable_output():
        try:
            yield
        except (modal.exception.AuthError, modal.exception.ConnectionError):
            raise  # the door knows what to say
        except modal.exception.Error as error:
            raise BackendUnavailable(modal_failures.undeployable(error)) from None
