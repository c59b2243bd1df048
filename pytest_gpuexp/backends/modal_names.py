"""What things are called on Modal, and the command line that runs an experiment there."""

from __future__ import annotations

import hashlib
import importlib.metadata
from functools import lru_cache
from pathlib import Path

from pytest_gpuexp.project import Modal
from pytest_gpuexp.tiers import MAX_TIMEOUT_SECONDS, Tier

DISTRIBUTION = "pytest-gpuexp"
# More than a run's own limit: the worker ends it, and its record is still written and sent.
_MARGIN_SECONDS = 120
_DEFAULT_SECONDS = 3600.0


def function(tier: str) -> str:
    """Return the name of a tier's function; the seeds' for the seeds' tiers."""
    return "modal_execute_task" if tier == "standard" else f"modal_execute_task_{tier}"


def gpu(tier: Tier) -> str:
    """Return a tier's GPU as Modal writes it: ``A100-40GB:2``."""
    return tier.gpu if tier.gpus == 1 else f"{tier.gpu}:{tier.gpus}"


def function_timeout(seconds: float | None) -> int:
    """Return how long Modal lets a call run whose attempt may take ``seconds``."""
    return int(min((seconds or _DEFAULT_SECONDS) + _MARGIN_SECONDS, MAX_TIMEOUT_SECONDS))


def attempt_limit(seconds: float) -> float:
    """Return the limit that leaves a worker time to end and to reply before Modal ends it."""
    return min(seconds, MAX_TIMEOUT_SECONDS - _MARGIN_SECONDS)


def marker(python: str, version: str | None = None) -> str:
    """Return the name of the function that says by whom an app was deployed.

    That it is there is seen without a call, so nothing is paid for.
    """
    known = version or importlib.metadata.version(DISTRIBUTION)
    return f"gpuexp_{known}_python_{python}".replace(".", "_").replace("+", "_")


def source_marker(python: str) -> str:
    """Return the name of the function that says from which source of the plugin an app is.

    Versions alone would let a developer's edit of the plugin run against the deployed old one.
    """
    return f"gpuexp_source_{digest(Path(__file__).parents[1])}_python_{python}".replace(".", "_")


@lru_cache(maxsize=1)
def digest(folder: Path) -> str:
    """Return a digest of the modules in ``folder``, the plugin's, as they were at the first call.

    An editor's lock is a link to nowhere beside the module, and no module.
    """
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*.py") if path.is_file()):
        whole.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:12]


def claims(settings: Modal) -> str:
    """Return the name of the Dict in which calls claim their attempts."""
    return f"{settings.app}-claims"


def pytest_words(
    path: str,
    *,
    experiment_id: str = "",
    sub_experiment: str = "",
    gpu: str = "",
    stub_mode: bool = False,
    deployed: bool = False,
) -> list[str]:
    """Return what follows ``pytest`` where an experiment is to run on Modal.

    It runs in the ``deployed`` app, or in one that lives as long as the session.
    """
    words = [path, "--backend=modal"]
    words += [] if deployed else ["--modal-ephemeral"]
    words += [f"--experiment-id={experiment_id}"] if experiment_id else []
    words += [f"--sub-experiment={sub_experiment}"] if sub_experiment else []
    words += [f"--gpu={gpu}"] if gpu else []
    return words + (["--stub-mode"] if stub_mode else [])
