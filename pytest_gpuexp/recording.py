"""How the end of an attempt is committed, by whoever saw it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_gpuexp import documents, series, sweep, transport
from pytest_gpuexp.artifacts import ResultsWriter
from pytest_gpuexp.checkpoints import newest_path
from pytest_gpuexp.moments import utc
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.records import Assertion, Attempt, ExperimentResult, Outcome, Plain, Status
from pytest_gpuexp.returns import non_finite


def record_name(result: ExperimentResult) -> str:
    """Return the storage name of the record of ``result``."""
    return f"{result.experiment_id}/records/{result.run_id}.{result.attempt}.yaml"


def run_folder(attempt: Attempt) -> str:
    """Return the storage name of the folder that holds an attempt's log, series and artifacts."""
    return f"{attempt.spec.experiment_id}/runs/{attempt.spec.run_id}/{attempt.number}"


def commit(storage: Storage, result: ExperimentResult, provenance: bytes) -> ExperimentResult:
    """Write the record of ``result``, and return the one that stands: the first that was written.

    ``provenance`` is that part of the record as YAML, the same for the whole session. The record
    goes last: what it speaks of is there, and without it the attempt has not ended.
    """
    name = record_name(result)
    if storage.write_if_absent(name, documents.dump_record(result, provenance)):
        return result
    return documents.read_record(storage.read(name), name)


def rehearse(attempt: Attempt, folder: Path) -> None:
    """Make a record of ``attempt`` and drop it: forked children find made what is made once.

    ``folder`` is the attempt's, which has not begun.
    """
    assertion = Assertion(line=1, source="1 < 2", met=True, count=1, first="1 < 2", last="1 < 2")
    result = replace(
        result_without_worker(
            attempt,
            folder=folder,
            status="completed",
            error_type="",
            error_message="",
            started=0.0,
            devices=(),
        ),
        assertions=(assertion,),
    )
    documents.dump_record(result, b"provenance: {}\n")
    transport.outcome_to_plain(Outcome(result=result))


def result_without_worker(
    attempt: Attempt,
    *,
    folder: Path,
    status: Status,
    error_type: str,
    error_message: str,
    started: float,
    devices: Sequence[str],
    now: float | None = None,
) -> ExperimentResult:
    """Return the result of an attempt whose worker cannot speak: with what it had logged.

    Times are Unix seconds; ``started`` is 0 for an attempt that never began.
    """
    spec, ended = attempt.spec, time.time() if now is None else now
    metrics = series.last_values(folder / "metrics.jsonl")
    return ExperimentResult(
        experiment_id=spec.experiment_id,
        run_id=spec.run_id,
        attempt=attempt.number,
        handler=spec.handler,
        name=spec.name,
        path=spec.path,
        status=status,
        verdict="not_evaluated",
        config=config_of(attempt),
        parameters=spec.parameters,
        seeded=spec.seeded,
        seed=spec.seed,
        metrics=metrics,
        non_finite=non_finite(metrics),
        artifacts=ResultsWriter(folder).saved(),
        checkpoint_path=newest_path(folder, spec.run_id, attempt.number) if started else None,
        error_type=error_type,
        error_message=error_message,
        started_at=utc(started) if started else "",
        completed_at=utc(ended),
        duration_seconds=round(ended - started, 6) if started else 0.0,
        device=f"GPU {','.join(devices)}" if devices else "cpu",
        stub=attempt.stub,
        fingerprint=attempt.fingerprint,
    )


def config_of(attempt: Attempt) -> Mapping[str, Plain]:
    """Return a run's parameters with dotted names nested, and its seed."""
    return {**sweep.nest(attempt.spec.parameters), "seed": attempt.spec.seed}
