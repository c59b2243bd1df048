"""Weights & Biases; the one room that imports its SDK."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from pytest_gpuexp.errors import GpuexpError


class WandbRun:
    """One run on W&B, which mirrors what is logged."""

    def __init__(self, *, project: str, name: str, config: Mapping[str, Any], **more: Any) -> None:
        """Open the run; ``more`` goes to ``wandb.init``.

        Raises:
            GpuexpError: wandb is not installed.
        """
        if importlib.util.find_spec("wandb") is None:
            raise GpuexpError(
                "init_wandb needs wandb, which is not installed. "
                "Install it with: pip install 'pytest-gpuexp[wandb]'"
            )
        import wandb

        self._run: Any = wandb.init(project=project, name=name, config=dict(config), **more)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Show ``metrics`` under ``step``, which need not rise as W&B's own steps must."""
        self._run.log({**metrics, "step": step})

    def finish(self, *, failed: bool) -> None:
        """Close the run."""
        self._run.finish(exit_code=int(failed))
