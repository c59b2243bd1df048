"""How an experiment's assessment reads: below its table, or on one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pytest_gpuexp import figures
from pytest_gpuexp.conclusions import Assessment, ExperimentReport, Judgement
from pytest_gpuexp.criteria import satisfies
from pytest_gpuexp.lines import Line
from pytest_gpuexp.records import Threshold

LABEL = 16  # columns of "recommendation" with a space around it
FEW_JUDGEMENTS = 3  # as many as are always shown one by one
MOST_JUDGEMENTS = 10

VERDICT_COLOURS = {"pass": "green", "fail": "red", "undecided": "yellow"}
RECOMMENDATION_COLOURS = {"proceed": "green", "pivot": "red", "investigate": "yellow"}


def heading(report: ExperimentReport) -> Line:
    """Return the experiment's id and its claim, with the status where it is not completed."""
    claim = figures.first_line(report.experiment.claim)
    spans = [(figures.clean(report.experiment.experiment_id), "bold")]
    if report.status != "completed":
        spans += [("  ", ""), (f"({report.status})", "yellow")]
    return [*spans, (f"  {claim}" if claim else "", "")]


def assessment_lines(
    report: ExperimentReport, *, width: int, place: str = "", every_judgement: bool = False
) -> list[Line]:
    """Return what the experiment comes to, one labelled line a thing, wrapped to ``width``."""
    assessment = report.assessment
    verdict = assessment.verdict.replace("_", " ")
    lines = _labelled(
        "verdict",
        verdict + _how_many(report),
        colour=VERDICT_COLOURS.get(assessment.verdict, ""),
        coloured=len(verdict),
        width=width,
    )
    for index, (name, threshold) in enumerate(report.experiment.success_criteria.items()):
        label = "" if index else "achieved"
        lines += _labelled(label, _reached(name, threshold, assessment), width=width)
    if assessment.variant:
        lines += _labelled("by", figures.clean(assessment.variant), width=width)
    lines += _judgement_lines(report.judgements, width=width, every_judgement=every_judgement)
    lines += _labelled("confidence", assessment.confidence, width=width)
    lines += _labelled(
        "recommendation",
        assessment.recommendation,
        colour=RECOMMENDATION_COLOURS[assessment.recommendation],
        width=width,
    )
    for note in assessment.notes:
        lines += _labelled("note", figures.clean(" ".join(note.split())), width=width)
    if place:
        lines += [[(f"  {'report':<{LABEL}}", ""), (figures.clean(place), "")]]  # never broken
    return lines


def assessment_line(report: ExperimentReport, *, place: str = "") -> str:
    """Return ``<experiment>: <recommendation> (<metric> <achieved> >= <threshold>), <place>``."""
    criteria = report.experiment.success_criteria
    reached = ", ".join(
        _reached(n, t, report.assessment, target=False) for n, t in criteria.items()
    )
    why = reached or report.assessment.verdict.replace("_", " ")
    where = f", {figures.clean(place)}" if place else ""
    experiment_id = figures.clean(report.experiment.experiment_id)
    return f"{experiment_id}: {report.assessment.recommendation} ({why}){where}"


def _how_many(report: ExperimentReport) -> str:
    judged = report.assessment.variants_judged
    if not report.experiment.success_criteria:
        return ": no success criteria are set"
    if not judged:
        return ": no variant could be judged"
    rule = ", each has to" if report.experiment.judged == "every" else ""
    variants = f"{judged} variant" if judged == 1 else f"{judged} variants"
    return f": {report.assessment.variants_met} of {variants} met all criteria{rule}"


def _reached(
    name: str, threshold: Threshold, assessment: Assessment, *, target: bool = True
) -> str:
    """Return how the achieved value compares, as ``accuracy 0.972 >= 0.93 (target 0.97 ...)``."""
    sign, other = (">=", "<") if threshold.direction == "at_least" else ("<=", ">")
    name, limit = figures.clean(name), figures.number(threshold.acceptable)
    achieved = assessment.achieved.get(name)
    if achieved is None or achieved != achieved:
        return f"{name} not measured, {sign} {limit} needed"
    met = _as_good(threshold, achieved, threshold.acceptable)
    text = f"{name} {figures.number(achieved)} {sign if met else other} {limit}"
    if not target:
        return text
    if threshold.target is not None:
        reached = "reached" if _as_good(threshold, achieved, threshold.target) else "missed"
        text += f" (target {figures.number(threshold.target)} {reached})"
    if threshold.failure is not None and not met:
        given_up = achieved == threshold.failure or not _as_good(
            threshold, achieved, threshold.failure
        )
        text += f" (the claim is given up at {figures.number(threshold.failure)})" * given_up
    return text


def _as_good(threshold: Threshold, value: float, limit: float) -> bool:
    return satisfies(replace(threshold, acceptable=limit), value)


def _judgement_lines(
    judgements: Sequence[Judgement], *, width: int, every_judgement: bool
) -> Iterable[Line]:
    """Yield the criteria's judgements; of more than a few, those that did not pass and a count."""
    shown = list(judgements)
    passed = sum(judgement.verdict == "pass" for judgement in judgements)
    if len(shown) > FEW_JUDGEMENTS and not every_judgement:
        shown = [judgement for judgement in shown if judgement.verdict != "pass"]
        yield from _labelled("criteria", f"{passed} of {len(judgements)} pass", width=width)
    hidden = len(shown) - MOST_JUDGEMENTS if not every_judgement else 0
    shown = shown[:MOST_JUDGEMENTS] if hidden > 0 else shown
    for judgement in shown:
        verdict = judgement.verdict.replace("_", " ")
        name = figures.clean(judgement.name)
        said = figures.first_line(judgement.explanation)
        text = f"{verdict} {name}" + (f": {said}" if said else "")
        expected = judgement.expected_failure is not None
        if expected:
            text += f" (expected: {figures.first_line(judgement.expected_failure or '')})"
        yield from _labelled(
            "criterion",
            text,
            colour="yellow" if expected else VERDICT_COLOURS.get(judgement.verdict, ""),
            coloured=len(verdict),
            width=width,
        )
    if hidden > 0:
        yield from _labelled("", f"... {hidden} more that do not pass", width=width)


def _labelled(
    label: str, text: str, *, width: int, colour: str = "", coloured: int | None = None
) -> list[Line]:
    """Return ``text`` wrapped beside ``label``; its first ``coloured`` characters have a colour."""
    first, *rest = figures.wrap(text, max(20, width - LABEL - 2))
    coloured = len(first) if coloured is None else coloured
    lines: list[Line] = [
        [(f"  {label:<{LABEL}}", ""), (first[:coloured], colour), (first[coloured:], "")]
    ]
    return lines + [[(f"  {'':{LABEL}}{line}", "")] for line in rest]
