"""What a session's results amount to, experiment by experiment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from pytest_gpuexp import criteria, summary
from pytest_gpuexp.conclusions import Assessment, ExperimentReport, Judgement, VariantSummary
from pytest_gpuexp.records import Experiment, ExperimentResult, RunSpec


def conclude(
    experiment: Experiment,
    specs: Sequence[RunSpec],
    results: Mapping[str, ExperimentResult],
    judgements: Sequence[Judgement],
    *,
    executed_by: str,
    ran_now: Collection[str] = (),
    notes: Sequence[str] = (),
) -> ExperimentReport:
    """Return the report of ``experiment`` as its file defines it now.

    ``specs`` are all its runs, selected or not; ``results`` the newest result of each, by run id;
    ``ran_now`` the ids of those that this session executed. ``notes`` are told beside what is
    found.
    """
    known = [results[spec.run_id] for spec in specs if spec.run_id in results]
    variants = summary.summarise_variants(known)
    assessment = _assess(experiment, variants, judgements, stub=any(one.stub for one in known))
    assessment = replace(assessment, notes=(*assessment.notes, *notes))
    earlier = sum(result.run_id not in ran_now for result in known)
    if earlier and ran_now:
        # Whether the code was the same then is not known here, so the reader must be told.
        told = f"{earlier} of {len(known)} results are from earlier sessions, perhaps of other code"
        assessment = replace(assessment, notes=(*assessment.notes, told))
    return ExperimentReport(
        experiment=experiment,
        variants=variants,
        judgements=judgements,
        assessment=assessment,
        status="completed" if _all_completed(known, len(specs)) else "partial",
        executed_by=executed_by,
        started_at=min((result.started_at for result in known), default=""),
        completed_at=max((result.completed_at for result in known), default=""),
    )


def _assess(
    experiment: Experiment,
    variants: Sequence[VariantSummary],
    judgements: Sequence[Judgement],
    *,
    stub: bool,
) -> Assessment:
    if not stub:
        return criteria.assess(experiment, variants, judgements)
    return Assessment(
        met=None,
        verdict="not_evaluated",
        achieved=dict.fromkeys(experiment.success_criteria),
        variant=None,
        variants_met=0,
        variants_judged=0,
        confidence="low",
        recommendation="investigate",
        notes=("stub mode: no handler ran, and nothing is judged",),
    )


def evaluations(results: Iterable[ExperimentResult], judgements: Iterable[Judgement]) -> int:
    """Return how many verdicts were reached: by runs with assertions, and by criteria."""
    by_runs = sum(result.verdict != "not_evaluated" for result in results)
    return by_runs + sum(judgement.verdict != "not_evaluated" for judgement in judgements)


def _all_completed(known: Sequence[ExperimentResult], expected: int) -> bool:
    return len(known) == expected and all(result.status == "completed" for result in known)
