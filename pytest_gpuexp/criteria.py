"""What the thresholds say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pytest_gpuexp.conclusions import (
    Assessment,
    Confidence,
    Judgement,
    Recommendation,
    VariantSummary,
)
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import Experiment, Threshold, Verdict
from pytest_gpuexp.remarks import label, run_notes, threshold_notes


def at_least(
    acceptable: float, *, target: float | None = None, failure: float | None = None
) -> Threshold:
    """Ask that a metric's mean over seeds be ``acceptable`` or more, in the metric's own unit.

    ``target`` is what is hoped for; at ``failure`` or less the claim is given up.

    Raises:
        UsageProblems: not finite numbers, or not ``failure <= acceptable <= target``.
    """
    return _threshold("at_least", acceptable, target, failure)


def at_most(
    acceptable: float, *, target: float | None = None, failure: float | None = None
) -> Threshold:
    """Ask that a metric's mean over seeds be ``acceptable`` or less, in the metric's own unit.

    ``target`` is what is hoped for; at ``failure`` or more the claim is given up.

    Raises:
        UsageProblems: not finite numbers, or not ``target <= acceptable <= failure``.
    """
    return _threshold("at_most", acceptable, target, failure)


def satisfies(threshold: Threshold, value: float) -> bool:
    """Return whether ``value`` is acceptable; NaN and infinities never are."""
    return math.isfinite(value) and _goodness(threshold, value) >= _goodness(
        threshold, threshold.acceptable
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantJudgement:
    """What the thresholds say of one variant; a required metric is in one of the three lists.

    ``unmeasured`` are those that a replicate did not report, or that did not complete.
    """

    verdict: Verdict
    met: Sequence[str]
    missed: Sequence[str]
    unmeasured: Sequence[str]


def judge_variant(thresholds: Mapping[str, Threshold], variant: VariantSummary) -> VariantJudgement:
    """Judge the means of ``variant`` over all its replicates.

    It fails where a metric that all replicates reported is not acceptable, else is undecided where
    a replicate lacks one, else passes; with no completed replicate it is not evaluated.
    """
    met, missed, unmeasured = [], [], []
    for name, threshold in thresholds.items():
        summary = variant.metrics.get(name)
        if summary is None or summary.missing or not summary.n:
            unmeasured.append(name)
        elif satisfies(threshold, summary.mean):
            met.append(name)
        else:
            missed.append(name)
    verdict: Verdict = "fail" if missed else "undecided" if unmeasured else "pass"
    if not variant.statuses.get("completed"):
        verdict = "not_evaluated"
    return VariantJudgement(verdict=verdict, met=met, missed=missed, unmeasured=unmeasured)


def assess(
    experiment: Experiment,
    variants: Sequence[VariantSummary],
    judgements: Sequence[Judgement] = (),
) -> Assessment:
    """Return what the thresholds of ``experiment`` come to, over all its ``variants``.

    Judged are the variants of the handlers that measure every required metric; where no handler
    does, each metric is judged by the variants of those that measure it. For them speaks the best
    of those that share the verdict (``judged="any"``), or the worst (``"every"``), by the criteria
    in their order. ``judgements`` are those of the ``@criterion`` functions: one that fails turns
    proceed into investigate.

    Without thresholds the verdict is that of ``judgements`` and of the runs' own assertions.
    """
    thresholds = experiment.success_criteria
    if not thresholds:
        return _assess_without_thresholds(variants, judgements)
    panels = [
        _convene(asked, judged, experiment.judged) for asked, judged in _split(thresholds, variants)
    ]
    verdict = _all_of([panel.verdict for panel in panels])
    found = {name: value for panel in panels for name, value in panel.achieved.items()}
    achieved = {name: found[name] for name in thresholds}
    judged = {id(variant) for panel in panels for variant, _ in panel.judged}
    short = {id(variant) for panel in panels for variant, own in panel.judged if own != "pass"}
    speakers = {label(panel.speaker): panel.speaker for panel in panels if panel.speaker}
    assessment = Assessment(
        met=verdict == "pass",
        verdict=verdict,
        achieved=achieved,
        variant=", ".join(speakers) or None,
        variants_met=len(judged - short),
        variants_judged=len(judged),
        confidence=_confidence(sum(v is not None for v in achieved.values()), len(achieved)),
        recommendation=_recommend(verdict, thresholds, achieved, judgements),
    )
    notes = threshold_notes(experiment, assessment, list(speakers.values()))
    return replace(assessment, notes=(*notes, *run_notes(variants, judgements)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """The variants that are judged by the same criteria, and what they come to."""

    judged: Sequence[tuple[VariantSummary, Verdict]]
    verdict: Verdict
    speaker: VariantSummary | None
    achieved: Mapping[str, float | None]


def _convene(
    thresholds: Mapping[str, Threshold],
    variants: Sequence[VariantSummary],
    how: Literal["any", "every"],
) -> _Panel:
    verdicts = [judge_variant(thresholds, variant).verdict for variant in variants]
    verdict = _any_of(verdicts) if how == "any" else _all_of(verdicts)
    speaker = None
    if verdict != "not_evaluated":
        agreeing = [v for v, own in zip(variants, verdicts, strict=True) if own == verdict]
        choose = max if how == "any" else min
        speaker = choose(agreeing or variants, key=lambda variant: _standing(thresholds, variant))
    return _Panel(
        judged=list(zip(variants, verdicts, strict=True)),
        verdict=verdict,
        speaker=speaker,
        achieved={name: _finite_mean(speaker, name) for name in thresholds},
    )


def _split(
    thresholds: Mapping[str, Threshold], variants: Sequence[VariantSummary]
) -> list[tuple[dict[str, Threshold], list[VariantSummary]]]:
    """Return which metrics are judged by which variants; each metric stands once."""
    measured: dict[str, set[str]] = {}
    for variant in variants:
        reported = {name for name in thresholds if name in variant.metrics}
        measured.setdefault(variant.handler, set()).update(reported)
    able = [handler for handler, names in measured.items() if len(names) == len(thresholds)]
    panels: dict[tuple[str, ...], dict[str, Threshold]] = {}
    for name, threshold in thresholds.items():
        # What nobody measures is asked of everybody, so that it stays undecided.
        asked = able or [handler for handler, names in measured.items() if name in names]
        panels.setdefault(tuple(asked or measured), {})[name] = threshold
    return [
        (asked, [variant for variant in variants if variant.handler in handlers])
        for handlers, asked in panels.items()
    ]


def _assess_without_thresholds(
    variants: Sequence[VariantSummary], judgements: Sequence[Judgement]
) -> Assessment:
    results = [result for variant in variants for result in variant.results]
    verdicts: set[Verdict] = {j.verdict for j in judgements if j.expected_failure is None}
    verdicts |= {result.verdict for result in results if result.expected_failure is None}
    completed = sum(result.status == "completed" for result in results)
    # Most runs assert nothing; that takes nothing from those that do.
    verdict = _all_of(sorted(verdicts - {"not_evaluated"}))
    if verdict == "pass" and completed < len(results):
        verdict = "undecided"
    return Assessment(
        met=None,
        verdict=verdict,
        achieved={},
        variant=None,
        variants_met=0,
        variants_judged=0,
        confidence=_confidence(completed, len(results)),
        recommendation="proceed" if verdict == "pass" else "investigate",
        notes=run_notes(variants, judgements),
    )


def _recommend(
    verdict: Verdict,
    thresholds: Mapping[str, Threshold],
    achieved: Mapping[str, float | None],
    judgements: Sequence[Judgement],
) -> Recommendation:
    if verdict == "pass":
        failed = any(j.verdict == "fail" and j.expected_failure is None for j in judgements)
        return "investigate" if failed else "proceed"
    if verdict == "fail" and any(_given_up(thresholds[name], v) for name, v in achieved.items()):
        return "pivot"
    return "investigate"


def _given_up(threshold: Threshold, value: float | None) -> bool:
    if value is None:
        return False
    if threshold.failure is None:
        return not satisfies(threshold, value)
    return _goodness(threshold, value) <= _goodness(threshold, threshold.failure)


def _confidence(measured: int, required: int) -> Confidence:
    if not measured or 2 * measured < required:
        return "low"
    return "high" if measured == required else "medium"


def _any_of(verdicts: Sequence[Verdict]) -> Verdict:
    if "pass" in verdicts:
        return "pass"
    if not set(verdicts) - {"not_evaluated"}:
        return "not_evaluated"
    return "fail" if set(verdicts) == {"fail"} else "undecided"


def _all_of(verdicts: Sequence[Verdict]) -> Verdict:
    if "fail" in verdicts:
        return "fail"
    if not set(verdicts) - {"not_evaluated"}:
        return "not_evaluated"
    return "pass" if set(verdicts) == {"pass"} else "undecided"


def _standing(thresholds: Mapping[str, Threshold], variant: VariantSummary) -> tuple[float, ...]:
    """Return how good the means of ``variant`` are, the first criterion first; higher is better."""
    means = ((threshold, _finite_mean(variant, name)) for name, threshold in thresholds.items())
    return tuple(-math.inf if mean is None else _goodness(thr, mean) for thr, mean in means)


def _finite_mean(variant: VariantSummary | None, metric: str) -> float | None:
    summary = variant.metrics.get(metric) if variant else None
    return summary.mean if summary and math.isfinite(summary.mean) else None


def _goodness(threshold: Threshold, value: float) -> float:
    return value if threshold.direction == "at_least" else -value


def _threshold(
    direction: Literal["at_least", "at_most"],
    acceptable: float,
    target: float | None,
    failure: float | None,
) -> Threshold:
    given = {"acceptable": acceptable, "target": target, "failure": failure}
    problems = [
        f"{name}: {value!r} is not a finite number"
        for name, value in given.items()
        if not _is_finite_number(value) and (value is not None or name == "acceptable")
    ]
    if problems:
        raise UsageProblems(direction, problems)
    threshold = Threshold(
        direction=direction, acceptable=acceptable, target=target, failure=failure
    )
    relation = "below" if direction == "at_least" else "above"
    opposite = "above" if direction == "at_least" else "below"
    good = _goodness(threshold, acceptable)
    if target is not None and _goodness(threshold, target) < good:
        problems.append(f"target: {target!r} lies {relation} acceptable {acceptable!r}")
    if failure is not None and _goodness(threshold, failure) > good:
        problems.append(f"failure: {failure!r} lies {opposite} acceptable {acceptable!r}")
    if problems:
        raise UsageProblems(direction, problems)
    return threshold


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
