"""Whole stages: their runs generated, carried out, kept where they are done, and summed up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_gpuexp import cloud, expansion, moments, stage_results
from pytest_gpuexp.cloud import Runner
from pytest_gpuexp.orders import Order
from pytest_gpuexp.records import ExperimentResult
from pytest_gpuexp.stage_results import StageResult
from pytest_gpuexp.stages import StageConfig


class ExperimentCoordinator:
    """Runs stages on a backend."""

    def __init__(
        self,
        backend: str | Runner = "local",
        base_config_path: str | Path | None = None,
        storage: str | Path = "results",
        *,
        folder: str | Path = ".",
    ) -> None:
        """Run on ``backend``, a name or a runner, which brings its own storage and folder.

        ``base_config_path`` is Hydra's folder of config groups, of which a stage's architectures
        and datasets are files; ``storage`` is a folder or ``s3://bucket/prefix``.
        """
        self._groups = None if base_config_path is None else Path(base_config_path)
        self._runner = (
            backend
            if isinstance(backend, Runner)
            else cloud.Runner(backend, storage=storage, folder=folder)
        )

    def plan(self, stage: StageConfig, base_config: Any = None) -> Order:
        """Return the runs of ``stage`` in their order; none is started.

        Raises:
            UsageProblems: the stage cannot be run; all problems.
        """
        folder = self._runner.folder
        groups = None if self._groups is None else folder / self._groups
        base: Any = {} if base_config is None else base_config
        return expansion.expand(stage, base, groups=groups, folder=folder)

    def run_stage(
        self,
        stage: StageConfig,
        base_config: Mapping[str, Any] | Any = None,
        parallelism: int = 4,
        resume: bool = True,
    ) -> StageResult:
        """Run ``stage`` and return what it came to; with ``resume`` what is done is kept.

        ``base_config`` is what each run's config begins with: a mapping, one of OmegaConf's, or
        the name of a config in ``base_config_path``. Kept are runs whose code and config are as
        they were; what failed is run again.

        Raises:
            UsageProblems: the stage cannot be run; all problems, and nothing was started.
            BackendUnavailable: the session ended before it could run anything.
        """
        order = self.plan(stage, base_config)
        started = moments.utc(time.time())
        results = self._runner.carry_out(order, parallelism=parallelism, resume=resume)
        return stage_results.stage_result(
            stage,
            results,
            started_at=started,
            completed_at=moments.utc(time.time()),
            kept=sum(_is_older(result, started) for result in results),
        )


def _is_older(result: ExperimentResult, moment: str) -> bool:
    return bool(result.started_at) and result.started_at < moment
