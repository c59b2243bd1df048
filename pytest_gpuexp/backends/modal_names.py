"""What things are called on Modal, and how its answers are shown."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gpuexp.project import Modal
from pytest_gpuexp.tiers import MAX_TIMEOUT_SECONDS, Tier

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


def marker(python: str, version: str | None = None) -> str:
    """Return the name of the function that says by whom an app was deployed.

    That it is there is seen without a call, so nothing is paid for.
    """
    known = version or importlib.metadata.version("pytest-gpuexp")
    return f"gpuexp_{known}_python_{python}".replace(".", "_").replace("+", "_")


def claims(settings: Modal) -> str:
    """Return the name of the Dict in which calls claim their attempts."""
    return f"{settings.app}-claims"


def describe(found: Mapping[str, Any]) -> str:
    """Return what a smoke test shows of a container."""
    lines = ["PYTEST-GPUEXP SMOKE TEST", f"Python: {found['python']}"]
    if found["torch"] is None:
        lines.append("PyTorch: not in the image; add torch to its dependencies")
    else:
        lines += [f"PyTorch version: {found['torch']}", f"CUDA available: {found['cuda']}"]
    if found.get("gpu"):
        lines += [f"GPU: {found['gpu']}", f"VRAM: {found['memory'] / 2**30:.1f} GB"]
    lines.append("SMOKE TEST PASSED")
    return "\n".join(lines)


def listing(entries: Sequence[Any]) -> str:
    """Return the results among a volume's ``entries``, an experiment a line."""
    found = sorted(one.path for one in entries if one.path.endswith("results.yaml"))
    return "\n".join(found) or "no results on the volume yet"
