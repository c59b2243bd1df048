"""``--multirun hydra/launcher=gpuexp``: all jobs of a sweep in one session of pytest-gpuexp."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from pytest_gpuexp import apps, cloud, composition
from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.hydra_tasks import RETURN_VALUE
from pytest_gpuexp.records import ExperimentResult

log = logging.getLogger(__name__)


class RunFailed(GpuexpError):
    """A job of a sweep has given no result; its record says why."""


# What ``hydra.launcher.*`` may say. A mapping, since Hydra executes this file outside sys.modules,
# where a dataclass does not find its own names.
_CONFIG = {
    "_target_": "hydra_plugins.gpuexp_launcher.launcher.GpuexpLauncher",
    "backend": "local",
    "storage": "results",
    "parallelism": 4,
    "gpu_type": None,
    "timeout_seconds": None,
}
ConfigStore.instance().store(
    group="hydra/launcher", name="gpuexp", node=_CONFIG, provider="gpuexp_launcher"
)


class GpuexpLauncher(Launcher):
    """Runs the jobs of ``--multirun`` as runs, each isolated, recorded, and limited in time.

    ``run_on_modal=true`` in the app's config sends them to Modal.
    """

    def __init__(
        self,
        backend: str,
        storage: str,
        parallelism: int,
        gpu_type: str | None,
        timeout_seconds: float | None,
    ) -> None:
        """Take what ``hydra.launcher.*`` says."""
        self._backend = backend
        self._storage = storage
        self._parallelism = parallelism
        self._gpu_type = gpu_type
        self._timeout = timeout_seconds
        self._config: Any = None
        self._context: Any = None
        self._task: Any = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Know the app."""
        self._config, self._context, self._task = config, hydra_context, task_function

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run a job for each of ``job_overrides``, and return them in that order."""
        setup_globals()
        jobs = [
            self._job(list(words), initial_job_idx + index)
            for index, words in enumerate(job_overrides)
        ]
        backends = {
            "modal" if config.pop("run_on_modal", False) else self._backend for _, config in jobs
        }
        if len(backends) > 1:
            raise GpuexpError("run_on_modal differs between jobs; sweep over something else.")
        runner = cloud.Runner(
            backends.pop(), storage=self._storage, folder=composition.starting_folder()
        )
        results = runner.run_sweep(
            [config for _, config in jobs],
            gpu_type=self._gpu_type,
            parallelism=self._parallelism,
            timeout_seconds=self._timeout,
        )
        pairs = zip(jobs, results, job_overrides, strict=True)
        return [_returned(full, result, words) for (full, _), result, words in pairs]

    def _job(self, words: list[str], number: int) -> tuple[Any, dict[str, Any]]:
        """Return the whole config of one job, and the plain one of its run."""
        log.info("\t#%s : %s", number, " ".join(filter_overrides(words)))
        full = self._context.config_loader.load_sweep_config(self._config, words)
        with open_dict(full):
            full.hydra.job.id, full.hydra.job.num = str(number), number
        HydraConfig.instance().set_config(full)
        own = OmegaConf.masked_copy(full, [key for key in full if key != "hydra"])
        OmegaConf.set_struct(own, False)
        return full, {**composition.to_plain(own), "_target_": apps.node_id(self._task)}


def _returned(full: Any, result: ExperimentResult, words: Sequence[str]) -> JobReturn:
    completed = result.status == "completed" and result.verdict != "fail"
    returned = JobReturn(
        overrides=list(words),
        cfg=OmegaConf.create(dict(result.config)),
        hydra_cfg=OmegaConf.masked_copy(full, "hydra"),
        working_dir=str(Path.cwd()),
        task_name=full.hydra.job.name,
        status=JobStatus.COMPLETED if completed else JobStatus.FAILED,
    )
    failure = RunFailed(f"{result.name}: {result.status}: {result.error_message}")
    returned.return_value = result.metrics.get(RETURN_VALUE) if completed else failure
    return returned
