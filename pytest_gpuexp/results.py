"""The experiment's results.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_gpuexp import documents
from pytest_gpuexp.conclusions import Assessment, ExperimentReport, MetricSummary, VariantSummary
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.records import Assertion, ExperimentResult, Plain, Threshold
from pytest_gpuexp.remarks import label


def results_name(experiment_id: str, stage: str = "") -> str:
    """Return the name under which the storage keeps the results of an experiment, or of a stage."""
    return f"{experiment_id}/stages/{stage}.yaml" if stage else f"{experiment_id}/results.yaml"


def write_results(storage: Storage, report: ExperimentReport, *, stage: str = "") -> str:
    """Put ``report`` into the storage, in place of what an earlier session wrote; return its name.

    That of a ``stage`` leaves the experiment's own as it is.

    Raises:
        StorageError: the storage did not take it.
    """
    name = results_name(report.experiment.experiment_id, stage)
    storage.write(name, documents.dump(document(report)))
    return name


def document(report: ExperimentReport) -> dict[str, Plain]:
    """Return what results.yaml says, keys in the order in which people read them."""
    experiment = report.experiment
    handlers: dict[str, list[VariantSummary]] = {}
    for variant in report.variants:
        handlers.setdefault(variant.handler, []).append(variant)
    criteria = [
        {
            "name": judgement.name,
            "verdict": judgement.verdict,
            **_filled(
                explanation=judgement.explanation, expected_failure=judgement.expected_failure
            ),
        }
        for judgement in report.judgements
    ]
    return {
        "experiment_id": experiment.experiment_id,
        "claim": experiment.claim or None,
        "status": report.status,
        "executed_by": report.executed_by or None,
        "started_at": report.started_at or None,
        "completed_at": report.completed_at or None,
        "success_criteria": criteria_entries(experiment.success_criteria),
        "results": {
            "experiments": {
                handler: {
                    **_filled(description=report.handler_docs.get(handler)),
                    **_handler_entry(variants, report.assessment.variant),
                }
                for handler, variants in handlers.items()
            }
        },
        **_filled(criteria=criteria),
        "assessment": _assessment_entry(report),
        "recommendation": report.assessment.recommendation,
    }


def criteria_entries(thresholds: Mapping[str, Threshold]) -> dict[str, Plain]:
    """Return ``thresholds`` as results.yaml has them."""
    return {
        key: value
        for metric, threshold in thresholds.items()
        for key, value in _threshold_entries(metric, threshold)
    }


def criteria_of(entries: object) -> dict[str, Threshold]:
    """Return the thresholds that results.yaml has; those without a direction are left out."""
    found: dict[str, Threshold] = {}
    if not isinstance(entries, Mapping):
        return found
    for key, value in entries.items():
        metric = key.removesuffix("_threshold")
        direction = entries.get(f"{metric}_direction")
        if metric != key and direction in ("at_least", "at_most"):
            found[metric] = Threshold(
                direction=direction,
                acceptable=value,
                target=entries.get(f"{metric}_target"),
                failure=entries.get(f"{metric}_failure"),
            )
    return found


def _threshold_entries(metric: str, threshold: Threshold) -> Iterable[tuple[str, Plain]]:
    yield f"{metric}_threshold", threshold.acceptable
    yield f"{metric}_direction", threshold.direction
    if threshold.target is not None:
        yield f"{metric}_target", threshold.target
    if threshold.failure is not None:
        yield f"{metric}_failure", threshold.failure


def _handler_entry(variants: Sequence[VariantSummary], speaking: str | None) -> dict[str, Plain]:
    if len(variants) == 1 and len(variants[0].results) == 1:
        return _single_run_entry(variants[0].results[0])
    return {
        "status": _status(variants),
        "finding": _finding(variants, speaking),
        "variants": [_variant_entry(variant) for variant in variants],
    }


def _single_run_entry(result: ExperimentResult) -> dict[str, Plain]:
    return {
        "status": result.status,
        "finding": result.finding,
        "metrics": dict(result.metrics),
        "artifacts": _artifact_paths(result),
        **_filled(parameters=dict(result.parameters)),
        "run_id": result.run_id,
        "seed": result.seed,
        "attempt": result.attempt,
        "verdict": result.verdict,
        **_troubles(result),
    }


def _variant_entry(variant: VariantSummary) -> dict[str, Plain]:
    return {
        "parameters": dict(variant.parameters),
        "status": dict(variant.statuses),
        **({"devices": dict(variant.devices)} if len(variant.devices) > 1 else {}),
        "metrics": {name: _spread_entry(summary) for name, summary in variant.metrics.items()},
        "runs": [_run_entry(result) for result in variant.results],
    }


def _run_entry(result: ExperimentResult) -> dict[str, Plain]:
    """Return a few lines; all else stands in the run's record."""
    return {
        "run_id": result.run_id,
        "seed": result.seed,
        **({"attempt": result.attempt} if result.attempt > 1 else {}),
        "status": result.status,
        **({"verdict": result.verdict} if result.verdict != "not_evaluated" else {}),
        **_filled(
            metrics=dict(result.metrics),
            finding=result.finding,
            artifacts=_artifact_paths(result),
        ),
        **_troubles(result),
    }


def _troubles(result: ExperimentResult) -> dict[str, Plain]:
    failed = [assertion for assertion in result.assertions if not assertion.met]
    return _filled(
        error=": ".join(filter(None, (result.error_type, result.error_message))),
        expected_failure=result.expected_failure,
        failed_assertions=[_assertion_entry(assertion) for assertion in failed],
    )


def _assertion_entry(assertion: Assertion) -> dict[str, Plain]:
    return {"line": assertion.line, "source": assertion.source, "values": assertion.last}


def _artifact_paths(result: ExperimentResult) -> list[str]:
    folder = f"runs/{result.run_id}/{result.attempt}/artifacts"
    return [f"{folder}/{artifact.name}" for artifact in result.artifacts]


def _spread_entry(summary: MetricSummary) -> dict[str, Plain]:
    return {
        "mean": summary.mean,
        # One value has no spread; null says so, where .nan would speak of a broken metric.
        "std": summary.std if summary.n > 1 else None,
        "n": summary.n,
        **_filled(missing=summary.missing),
    }


def _status(variants: Sequence[VariantSummary]) -> str:
    statuses = {status for variant in variants for status in variant.statuses}
    if len(statuses) == 1:
        return statuses.pop()
    return "partial" if "completed" in statuses else "failed"


def _finding(variants: Sequence[VariantSummary], speaking: str | None) -> str | None:
    """Return the latest finding of the variants that speak for the experiment, else of all."""
    speakers = [variant for variant in variants if f", {label(variant)}, " in f", {speaking}, "]
    for chosen in (speakers, variants):
        found = [
            (result.completed_at, result.finding)
            for variant in chosen
            for result in variant.results
            if result.status == "completed" and result.finding
        ]
        if found:
            return max(found)[1]
    return None


def _assessment_entry(report: ExperimentReport) -> dict[str, Plain]:
    assessment: Assessment = report.assessment
    return {
        "success_criteria_met": assessment.met,
        **{f"{metric}_achieved": value for metric, value in assessment.achieved.items()},
        "confidence": assessment.confidence,
        "verdict": assessment.verdict,
        "judged": report.experiment.judged,
        "variant": assessment.variant,
        "variants_met": assessment.variants_met,
        "variants_judged": assessment.variants_judged,
        "notes": list(assessment.notes),
    }


def _filled(**entries: Plain) -> dict[str, Plain]:
    """Return those of ``entries`` that hold something."""
    return {key: value for key, value in entries.items() if value}
