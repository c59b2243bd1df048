"""The runner of an experiment in a script or a notebook, outside of pytest."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytest_gpuexp import concluding, endings, identifiers, moments, provenance, results, runner
from pytest_gpuexp.errors import GpuexpError, UsageProblems
from pytest_gpuexp.records import (
    Artifact,
    Attempt,
    Experiment,
    ExperimentResult,
    RunSpec,
    Status,
    Verdict,
)
from pytest_gpuexp.returns import Returned, non_finite
from pytest_gpuexp.seeding import seed_everything
from pytest_gpuexp.series import SeriesWriter
from pytest_gpuexp.tracking.on_wandb import WandbRun
from pytest_gpuexp.written_results import ResultsWriter

Handler = Callable[..., object]


class _Kind(type):
    """Lets what pytest gives to handlers as ``runner`` be an ExperimentRunner, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, runner.ExperimentRunner)


class ExperimentRunner(runner.ExperimentRunner, metaclass=_Kind):
    """Runs the registered handlers of one experiment, here, one after the other.

    Handlers get it as their first argument. Under pytest, ``runner`` is of the same kind, but made
    by the plugin, which finds the handlers itself.
    """

    results: ResultsWriter

    def __init__(
        self,
        experiment_id: str,
        *,
        results_dir: str | Path = "results",
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
        claim: str | None = None,
        success_criteria: Mapping[str, Any] | None = None,
    ) -> None:
        """Work in ``results_dir/experiment_id``; a results.yaml that is there is gone on with.

        Raises:
            UsageProblems: the success criteria are none.
            RecordInvalid: there is a results.yaml that cannot be read.
        """
        problem = identifiers.folder_problem(experiment_id)
        if problem:
            raise UsageProblems("ExperimentRunner", [problem])
        folder = Path(results_dir) / experiment_id
        super().__init__(
            _attempt(experiment_id, "", seed),
            config={**(config or {}), "seed": seed},
            folder=folder,
        )
        self.results = ResultsWriter(folder, experiment_id)
        if claim is not None:
            self.results.set_claim(claim)
        if success_criteria is not None:
            self.results.set_success_criteria(success_criteria)
        self._handlers: dict[str, Handler] = {}
        self._ended: dict[str, ExperimentResult] = {}
        self._wandb: WandbRun | None = None

    def register_handler(self, sub_experiment: str, handler: Handler) -> None:
        """Let ``sub_experiment`` be run by ``handler``, which is called with this runner."""
        if not callable(handler):
            raise GpuexpError(f"the handler of {sub_experiment!r} is {handler!r}, no function.")
        self._handlers[sub_experiment] = handler

    def init_wandb(self, project: str = "pytest-gpuexp", **settings: Any) -> None:
        """Mirror all metrics on W&B from now on; ``settings`` go to ``wandb.init``.

        Raises:
            GpuexpError: wandb is not installed.
        """
        self._wandb = WandbRun(
            project=project, name=self.experiment_id, config=self.config, **settings
        )
        self._trackers = (self._wandb,)  # type: ignore[assignment]  # of its protocol, log alone

    def log_artifact(self, name: str, data: bytes | str | Path) -> str:
        """Keep ``data``, or the file at that path, as the artifact ``name``; return its path."""
        content = data.read_bytes() if isinstance(data, Path) else data
        return self.results.save_artifact(name, content)

    def run_all(self) -> dict[str, ExperimentResult]:
        """Run every registered handler, and write ``results.yaml``; a crash ends one alone."""
        return {name: self.run_sub_experiment(name) for name in self._handlers}

    def run_sub_experiment(self, sub_experiment: str) -> ExperimentResult:
        """Run one handler, and write ``results.yaml``; entries of the others stay.

        Raises:
            GpuexpError: there is no handler of that id.
        """
        if sub_experiment not in self._handlers:
            known = ", ".join(self._handlers) or "none"
            raise GpuexpError(f"{sub_experiment!r} has no handler; there are: {known}.")
        handler = self._handlers[sub_experiment]
        self.run_id = identifiers.run_id(self.experiment_id, sub_experiment, {}, self.seed)
        self._series.close()
        place = self.folder / "runs" / sub_experiment / "metrics.jsonl"
        self._series, self._returned = SeriesWriter(place, time.time), Returned()
        seed_everything(self.seed)
        started, clock, error = time.time(), time.perf_counter(), None
        try:
            self.take_return(handler(self))
        except Exception as raised:  # noqa: BLE001 -- whatever it is, it ends this one alone
            error = raised
        self._series.close()
        result = self._result(sub_experiment, handler, error, started, time.perf_counter() - clock)
        self._ended[sub_experiment] = result
        self._write(sub_experiment, result)
        return result

    def finish(self) -> Path:
        """Close what is open, write ``results.yaml``, and return its path."""
        self.close()
        if self._wandb is not None:
            failed = any(one.status != "completed" for one in self._ended.values())
            self._wandb.finish(failed=failed)
            self._wandb, self._trackers = None, ()
        return self.results.save()

    def _result(
        self,
        sub_experiment: str,
        handler: Handler,
        error: BaseException | None,
        started: float,
        duration: float,
    ) -> ExperimentResult:
        status, verdict = _ending(error, handler)
        metrics = self.metrics
        return _plain_result(
            self.experiment_id,
            sub_experiment,
            self.seed,
            status=status,
            verdict=verdict,
            config=self.config,
            metrics=metrics,
            non_finite=non_finite(metrics),
            finding=self.finding,
            artifacts=self._returned_artifacts(),
            error_type=None if error is None else type(error).__name__,
            error_message=None if error is None else endings.message_of(error),
            started_at=moments.utc(started),
            completed_at=moments.utc(started + duration),
            duration_seconds=round(duration, 6),
            device="cpu",
        )

    def _returned_artifacts(self) -> tuple[Artifact, ...]:
        """Return what the handler named: the folder is that of all handlers."""
        named = {name.removeprefix("artifacts/") for name in self._returned.artifacts}
        return tuple(one for one in self.results.saved() if one.name in named) if named else ()

    def _write(self, sub_experiment: str, result: ExperimentResult) -> None:
        """Write what the experiment comes to with ``result``, over what was written before."""
        earlier = {
            name: _plain_result(
                self.experiment_id,
                name,
                self.seed,
                status=entry["status"],
                verdict=entry.get("verdict", "not_evaluated"),
                metrics=entry.get("metrics") or {},
                finding=entry.get("finding"),
            )
            for name, entry in self.results.entries().items()
            if name not in self._ended and "variants" not in entry and entry.get("status")
        }
        known = {one.run_id: one for one in (*earlier.values(), *self._ended.values())}
        experiment = Experiment(
            experiment_id=self.experiment_id,
            claim=str(self.results.document.get("claim") or ""),
            success_criteria=self.results.thresholds(),
        )
        names = [*earlier, *self._ended]
        specs = [_attempt(self.experiment_id, name, self.seed).spec for name in names]
        report = concluding.conclude(
            experiment, specs, known, (), executed_by=provenance.executed_by()
        )
        document = results.document(report)
        entry = document["results"]["experiments"][sub_experiment]
        entry["artifacts"] = list(self._returned.artifacts)
        document.pop("results")
        document.pop("success_criteria")
        self.results.set_entry(sub_experiment, entry)
        self.results.update(document)
        self.results.save()


def _attempt(experiment_id: str, sub_experiment: str, seed: int) -> Attempt:
    spec = RunSpec(
        experiment_id=experiment_id,
        handler=sub_experiment,
        function=sub_experiment,
        path="",
        name=sub_experiment,
        parameters={},
        seed=seed,
        run_id=identifiers.run_id(experiment_id, sub_experiment, {}, seed),
    )
    return Attempt(spec=spec, number=1)


def _plain_result(
    experiment_id: str, sub_experiment: str, seed: int, **given: Any
) -> ExperimentResult:
    spec = _attempt(experiment_id, sub_experiment, seed).spec
    return ExperimentResult(
        experiment_id=experiment_id,
        run_id=spec.run_id,
        attempt=1,
        handler=sub_experiment,
        name=sub_experiment,
        path="",
        parameters={},
        seed=seed,
        **{"config": {"seed": seed}, **given},
    )


def _ending(error: BaseException | None, handler: Handler) -> tuple[Status, Verdict]:
    """Return status and verdict; an assert of the handler's own file has run well, and failed."""
    if error is None:
        return "completed", "not_evaluated"
    if isinstance(error, AssertionError) and error.__traceback__ is not None:
        frames = traceback.extract_tb(error.__traceback__)
        own = getattr(getattr(handler, "__code__", None), "co_filename", None)
        if frames[-1].filename == own:
            return "completed", "fail"
    return endings.status_of_exception(error), "not_evaluated"
