"""Runners: experiments from a program, each in a process or on a machine of its own."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gpuexp import configs as readings
from pytest_gpuexp import inquiries, project, tiers
from pytest_gpuexp.errands import Errand, Terms
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.gathering import SpawnedExperiment, SpawnedSweep
from pytest_gpuexp.orders import Order
from pytest_gpuexp.records import ExperimentResult

Config = Mapping[str, Any]


class Runner:
    """Runs configs by sessions of pytest, on the backend of this name.

    A config is a mapping, or one of OmegaConf's. Its ``_target_`` says what to run, as
    ``package.module.function`` or ``experiments/exp_digits.py::exp_mlp``; ``seed`` and ``run_id``
    may be given; all else are parameters. The function gets those that it takes, nested ones by
    their first name, and ``config``, ``runner`` and fixtures where it asks for them.
    """

    def __init__(
        self,
        backend: str,
        *,
        storage: str | Path = "results",
        folder: str | Path = ".",
        isolation: str | None = None,
        stub: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        """Run on ``backend`` and keep results in ``storage``, a folder or ``s3://bucket/prefix``.

        ``folder`` is the project's: node ids and a relative storage start there. ``options`` are
        further words for pytest.
        """
        self.backend = backend
        self.folder = Path(folder).absolute()
        self._terms = Terms(
            backend=backend,
            storage=str(storage),
            isolation=isolation,
            stub=stub,
            options=tuple(options),
        )

    def run_experiment(
        self,
        config: Config,
        gpu_type: str | None = "standard",
        timeout_seconds: float | None = None,
    ) -> ExperimentResult:
        """Run ``config`` and return how that ended; what goes wrong in the run is in the result.

        ``gpu_type`` is a tier or a GPU, None for what the function's own ``@tier`` says;
        ``timeout_seconds`` is None for the tier's.

        Raises:
            UsageProblems: the config cannot be run; nothing was started.
            BackendUnavailable: the session ended before it could run anything.
        """
        return self.run_sweep([config], gpu_type, parallelism=1, timeout_seconds=timeout_seconds)[0]

    def run_sweep(
        self,
        configs: Sequence[Config],
        gpu_type: str | None = "standard",
        parallelism: int = 4,
        timeout_seconds: float | None = 1800,
    ) -> list[ExperimentResult]:
        """Run ``configs``, ``parallelism`` at a time, and return the results in their order.

        A run that fails is told in its result, and the others go on.

        Raises:
            UsageProblems: configs cannot be run; every problem is told, and nothing was started.
            BackendUnavailable: the session ended before it could run anything.
        """
        order = self._order(configs, gpu_type, timeout_seconds)
        return self.carry_out(order, parallelism=parallelism)

    def spawn_experiment(
        self,
        config: Config,
        gpu_type: str | None = "standard",
        timeout_seconds: float | None = None,
    ) -> SpawnedExperiment:
        """Start ``config`` and return at once; it goes on where this process ends.

        Raises:
            UsageProblems: the config cannot be run; nothing was started.
        """
        order = self._order([config], gpu_type, timeout_seconds)
        return SpawnedExperiment(self._start(order, parallelism=1, detached=True))

    def spawn_sweep(
        self,
        configs: Sequence[Config],
        gpu_type: str | None = "standard",
        parallelism: int = 4,
        timeout_seconds: float | None = 1800,
    ) -> SpawnedSweep:
        """Start ``configs`` and return at once; they go on where this process ends.

        Raises:
            UsageProblems: configs cannot be run; nothing was started.
        """
        order = self._order(configs, gpu_type, timeout_seconds)
        return SpawnedSweep(self._start(order, parallelism=parallelism, detached=True))

    def carry_out(
        self, order: Order, *, parallelism: int, resume: bool = False
    ) -> list[ExperimentResult]:
        """Run ``order`` and return a result a request, in their order."""
        if not order.requests:
            return []
        errand = self._start(order, parallelism=parallelism, resume=resume, detached=False)
        sweep = SpawnedSweep(errand)
        try:
            results = sweep.get()
        except KeyboardInterrupt:
            sweep.cancel()
            raise
        errand.forget()
        return results

    def _order(
        self, configs: Sequence[Config], gpu_type: str | None, timeout_seconds: float | None
    ) -> Order:
        problems: list[str] = []
        if isinstance(configs, Mapping):
            problems.append("configs is one config; give a list of them, or call run_experiment")
        known = project.tiers_of(self.folder)
        problems += tiers.machine_problems(gpu_type, timeout_seconds, known)
        requests = []
        try:
            requests = readings.read_configs(configs, self.folder) if not problems else []
        except UsageProblems as error:
            problems += error.problems
        if problems:
            raise UsageProblems("runner", problems)
        return Order(requests=requests, gpu_type=gpu_type, timeout_seconds=timeout_seconds)

    def _start(
        self, order: Order, *, parallelism: int, detached: bool, resume: bool = False
    ) -> Errand:
        if parallelism < 1:
            raise UsageProblems("runner", [f"parallelism: {parallelism} is not a number above 0"])
        terms = dataclasses.replace(self._terms, parallelism=parallelism, resume=resume)
        return Errand.start(order, terms, root=self.folder, detached=detached)


class LocalRunner(Runner):
    """Runs on this machine, each run in a process of its own."""

    def __init__(self, output_dir: str | Path = "./results", **settings: Any) -> None:
        """Keep results in ``output_dir``; ``settings`` are a Runner's."""
        super().__init__("local", **{"storage": output_dir, **settings})


class ModalRunner(Runner):
    """Runs on Modal's GPUs, by the deployed app."""

    def __init__(self, **settings: Any) -> None:
        """Take the ``settings`` of a Runner."""
        super().__init__("modal", **settings)


class CloudRunnerFactory:
    """Makes runners by the names of their backends."""

    @staticmethod
    def create(name: str, **settings: Any) -> Runner:
        """Return the runner of ``local``, ``modal``, or a backend that a project's hook offers.

        Raises:
            UsageProblems: settings that the runner does not take; all are told.
        """
        own: Mapping[str, Callable[..., Runner]] = {"local": LocalRunner, "modal": ModalRunner}
        known = [one for one in inspect.signature(Runner.__init__).parameters if one not in _HIDDEN]
        known += ["output_dir"] if name == "local" else []
        if unknown := [one for one in settings if one not in known]:
            told = [f"{one} is no setting ({', '.join(known)})" for one in unknown]
            raise UsageProblems(f"runner {name!r}", told)
        make = own.get(name)
        return make(**settings) if make else Runner(name, **settings)

    @staticmethod
    def available_backends(*, folder: str | Path = ".", options: Sequence[str] = ()) -> list[str]:
        """Return the names that sessions in ``folder`` know: built-in ones, then those of hooks.

        Plugins and the project's conftest.py say theirs by ``pytest_gpuexp_backend_names``. For
        that pytest is started once, with ``options``; no file is collected.

        Raises:
            BackendUnavailable: pytest does not start there; what it said is told.
        """
        return inquiries.backends_of(Path(folder).absolute(), options)


_HIDDEN = ("self", "backend")
