"""Sweeps on their way, and what has come of them."""

from __future__ import annotations

import time
from pathlib import Path

from pytest_gpuexp import identifiers, moments, sweep
from pytest_gpuexp.errands import Errand, Tidings
from pytest_gpuexp.errors import BackendUnavailable, GpuexpError, UsageProblems
from pytest_gpuexp.orders import RunRequest
from pytest_gpuexp.records import ExperimentResult, Status


class SpawnedSweep:
    """Runs that go on by themselves; ``handle`` finds them again, in another process too."""

    def __init__(self, errand: Errand | str | Path) -> None:
        """Follow ``errand``, or the one that ``handle`` named."""
        self._errand = errand if isinstance(errand, Errand) else Errand(Path(errand))
        self.handle = str(self._errand.folder)
        self._requests = self._errand.order().requests
        self._cancelled = False

    def status(self) -> list[str]:
        """Return a word a run, in the order of the configs: ``running``, or how it ended."""
        tidings = self._errand.tidings()
        return ["running" if one is None else one.status for one in self._results(tidings)]

    def get(self, timeout: float | None = None) -> list[ExperimentResult]:
        """Wait for all runs, and return their results in the order of the configs.

        Raises:
            TimeoutError: they have not ended within ``timeout`` seconds; they go on.
            UsageProblems: the session refused the configs; nothing was run.
            BackendUnavailable: the session ended before it could run anything.
        """
        if not self._errand.wait(timeout):
            raise TimeoutError(
                f"the sweep {self.handle} has not ended within {timeout} seconds; it goes on"
            )
        tidings = self._errand.tidings()
        nothing = not (tidings.planned or tidings.troubles)
        if not self._cancelled and (nothing or (tidings.refused and not tidings.results)):
            raise _refusal(tidings.output)
        found = self._results(tidings)
        return [result for result in found if result is not None]

    def cancel(self) -> None:
        """End the runs in flight, and start no others; their results say ``cancelled``."""
        self._cancelled = True
        self._errand.cancel()

    def _results(self, tidings: Tidings) -> list[ExperimentResult | None]:
        """Return a result a request; None where it may still come."""
        ids = [tidings.planned.get((one.path, _name(one)), "") for one in self._requests]
        return [
            tidings.results.get(run_id) or self._unrun(request, tidings)
            for run_id, request in zip(ids, self._requests, strict=True)
        ]

    def _unrun(self, request: RunRequest, tidings: Tidings) -> ExperimentResult | None:
        if not tidings.ended:
            return None
        if trouble := tidings.troubles.get(request.path):
            return _without_run(request, "failed", "CollectError", trouble)
        told = "its session ended before it came to this run"
        if self._cancelled or not tidings.output:
            return _without_run(request, "cancelled", "Cancelled", told)
        return _without_run(request, "lost", "Lost", f"{told}:\n{tidings.output[-2000:]}")


class SpawnedExperiment:
    """One run that goes on by itself; ``handle`` finds it again, in another process too."""

    def __init__(self, errand: Errand | str | Path) -> None:
        """Follow ``errand``, or the one that ``handle`` named."""
        self._sweep = SpawnedSweep(errand)
        self.handle = self._sweep.handle

    def status(self) -> str:
        """Return ``running``, or how the run ended."""
        return self._sweep.status()[0]

    def get(self, timeout: float | None = None) -> ExperimentResult:
        """Wait for the run and return its result; raises as ``SpawnedSweep.get`` does."""
        return self._sweep.get(timeout)[0]

    def cancel(self) -> None:
        """End the run; its result says ``cancelled``."""
        self._sweep.cancel()


def _name(request: RunRequest) -> str:
    return f"{request.function}[{request.label}]" if request.label else request.function


def _without_run(
    request: RunRequest, status: Status, error_type: str, message: str
) -> ExperimentResult:
    """Return the result of a run that never began: no record speaks of it."""
    experiment = Path(request.path).stem
    handler = identifiers.handler_id(request.function)
    made = identifiers.run_id(experiment, handler, request.parameters, request.seed)
    return ExperimentResult(
        experiment_id=experiment,
        run_id=request.run_id or made,
        attempt=0,
        handler=handler,
        name=_name(request),
        path=request.path,
        status=status,
        verdict="not_evaluated",
        config={**sweep.nest(request.parameters), "seed": request.seed},
        parameters=request.parameters,
        seeded=request.seeded,
        seed=request.seed,
        error_type=error_type,
        error_message=message,
        completed_at=moments.utc(time.time()),
        published=False,
    )


def _refusal(output: str) -> GpuexpError:
    """Return the error of a session that has run nothing: its own words."""
    told = output.partition("ERROR: ")[2].strip()
    if told:
        return UsageProblems("session", [" ".join(told.split())])
    return BackendUnavailable(f"the session ended before it could run anything:\n{output[-4000:]}")
