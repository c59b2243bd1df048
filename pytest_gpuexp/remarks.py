"""What should be said beside a verdict, in sentences for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from pytest_gpuexp.conclusions import Assessment, Judgement, VariantSummary
from pytest_gpuexp.records import Experiment, Threshold

_MOST_NAMES = 5


def label(variant: VariantSummary) -> str:
    """Return how people call ``variant``: ``exp_mlp[lr:0.001]``, or ``exp_mlp``."""
    return f"{variant.handler}[{variant.name}]" if variant.name else variant.handler


def threshold_notes(
    experiment: Experiment, assessment: Assessment, speakers: Sequence[VariantSummary]
) -> list[str]:
    """Return what to know of the thresholds: who met them, what was hoped for, what is missing.

    ``speakers`` are the variants whose means ``assessment`` gives.
    """
    judged, met = assessment.variants_judged, assessment.variants_met
    notes = [f"{met} of {_count(judged, 'variant')} {'meets' if met == 1 else 'meet'} all criteria"]
    if len(speakers) > 1:
        notes[0] += " that are asked of them"
        notes.append(
            "no handler measures all criteria: " + "; ".join(_sources(experiment, speakers))
        )
    for name, threshold in experiment.success_criteria.items():
        notes += _metric_notes(name, threshold, assessment.achieved[name], speakers)
    if any(variant.statuses.get("completed") == 1 for variant in speakers):
        notes.append("one seed: no spread is known")
    if experiment.judged == "any" and assessment.met and judged > len(speakers):
        directions = {t.direction for t in experiment.success_criteria.values()}
        bias = "upwards" if directions == {"at_least"} else "downwards"
        bias = bias if len(directions) == 1 else "towards success"
        notes.append(
            f"best of {judged} variants: its mean is biased {bias}; confirm it on fresh seeds"
        )
    return notes


def run_notes(variants: Sequence[VariantSummary], judgements: Sequence[Judgement]) -> list[str]:
    """Return what to know of the runs and of the ``@criterion`` functions' ``judgements``."""
    results = [result for variant in variants for result in variant.results]
    notes = []
    ended = Counter(result.status for result in results if result.status != "completed")
    if ended:
        statuses = ", ".join(f"{number} {status}" for status, number in sorted(ended.items()))
        notes.append(
            f"{ended.total()} of {_count(len(results), 'run')} did not complete: {statuses}"
        )
    failing = [result for result in results if result.verdict == "fail"]
    surprising = [result for result in failing if result.expected_failure is None]
    if surprising:
        notes.append(f"assertions failed in {len(surprising)} of {_count(len(results), 'run')}")
    if len(failing) > len(surprising):
        expected = len(failing) - len(surprising)
        notes.append(f"assertions failed as expected in {_count(expected, 'run')}")
    return [*notes, *_device_notes(variants), *_judgement_notes(judgements)]


def _metric_notes(
    name: str, threshold: Threshold, value: float | None, speakers: Sequence[VariantSummary]
) -> Iterable[str]:
    for variant in speakers:
        summary = variant.metrics.get(name)
        if summary and summary.missing:
            replicates = _count(len(variant.results), "replicate")
            yield f"{name} is missing in {summary.missing} of {replicates} of {label(variant)}"
        if summary and not math.isfinite(summary.mean):
            yield f"{name} is not finite ({summary.mean})"
    if value is None:
        if not any(name in variant.metrics for variant in speakers):
            yield f"{name} was not measured"
        return
    sign = 1 if threshold.direction == "at_least" else -1
    if threshold.target is not None:
        reached = "reaches" if sign * value >= sign * threshold.target else "misses"
        yield f"{name} {value:.4g} {reached} its target {threshold.target:g}"
    if threshold.failure is not None and sign * value <= sign * threshold.failure:
        yield f"{name} {value:.4g} is at or past its failure mark {threshold.failure:g}"


def _device_notes(variants: Sequence[VariantSummary]) -> Iterable[str]:
    """Yield which means mix devices: their spread is not that of the seeds alone."""
    mixed = [variant for variant in variants if len(variant.devices) > 1]
    for variant in mixed[:_MOST_NAMES]:
        counts = ", ".join(f"{n} on {device}" for device, n in sorted(variant.devices.items()))
        yield f"the replicates of {label(variant)} ran on different devices: {counts}"
    if len(mixed) > _MOST_NAMES:
        more = _count(len(mixed) - _MOST_NAMES, "more variant")
        yield f"the replicates of {more} ran on different devices"


def _judgement_notes(judgements: Sequence[Judgement]) -> Iterable[str]:
    surprising = [judgement for judgement in judgements if judgement.expected_failure is None]
    for text, verdicts in (
        ("failed", {"fail"}),
        ("could not be decided", {"undecided", "not_evaluated"}),
    ):
        names = [judgement.name for judgement in surprising if judgement.verdict in verdicts]
        if names:
            more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
            yield f"{', '.join(names[:_MOST_NAMES] + more)} {text}"


def _sources(experiment: Experiment, speakers: Sequence[VariantSummary]) -> Iterable[str]:
    for name in experiment.success_criteria:
        found = [label(variant) for variant in speakers if name in variant.metrics]
        if found:
            yield f"{name} from {found[0]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
