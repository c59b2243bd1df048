"""The closing table of an experiment: its variants side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_gpuexp import figures
from pytest_gpuexp.conclusions import ExperimentReport, VariantSummary
from pytest_gpuexp.criteria import judge_variant, satisfies
from pytest_gpuexp.lines import Line, Span

MOST_NAMES = 12  # of metrics that have no column
MOST_ROWS = 20  # more variants than these are shown by their best and their worst
WORST_ROWS = 5
TITLE = 32  # columns at most of a metric's name
INDENT = "  "
GAP = "  "

CRITERIA_WORDS = {
    "pass": ("met", "green"),
    "fail": ("not met", "red"),
    "undecided": ("undecided", "yellow"),
    "not_evaluated": ("not evaluated", "yellow"),
}

Column = Sequence[Span]  # the title first, then one cell a row


def variant_table(
    report: ExperimentReport,
    *,
    width: int,
    place: str = "",
    plus_minus: str = "±",
    every_metric: bool = False,
) -> list[Line]:
    """Return the lines of a table with one row a variant, at most ``width`` columns wide.

    Required metrics come first; those for which there is no room are named below the table, or
    where ``every_metric`` is asked for get a further table below. ``place`` says where all that
    is left out is found.
    """
    best, worst = _ends(report)
    shown = [*best, *worst]
    if not shown:
        return []
    names = _names(shown)
    outer = _outer_columns(report, shown)
    metrics = {
        name: _metric_column(name, shown, plus_minus=plus_minus) for name in _metric_names(report)
    }
    gap: list[Line] = []
    if worst:
        gap = [[(f"{INDENT}{_more(len(report.variants) - len(shown), 'variant', place)}", "")]]
    lines: list[Line] = []
    while True:
        kept = _fitting(metrics, room=width - _taken(outer) - _wanted(names, width))
        columns = [*outer[:1], *(metrics.pop(name) for name in kept), *outer[1:]]
        header, *rows = _rows(names, columns, width=width)
        lines += [[(text, "bold") for text, _ in line] for line in header]
        lines += [line for row in rows[: len(best)] for line in row]
        lines += gap + [line for row in rows[len(best) :] for line in row]
        if not metrics or not every_metric:
            break
        outer = []
    if metrics:
        others = ", ".join(map(figures.clean, list(metrics)[:MOST_NAMES]))
        others += ", ..." if len(metrics) > MOST_NAMES else ""
        told = figures.wrap(
            f"{_more(len(metrics), 'metric', place)}: {others}", width - len(INDENT)
        )
        lines += [[(f"{INDENT}{part}", "")] for part in told]
    return [_stripped(line) for line in lines]


def _names(shown: Sequence[VariantSummary]) -> list[str]:
    """Return the first column, title first; a handler that they all share is the title."""
    handlers = {variant.handler for variant in shown}
    if len(handlers) == 1 and all(variant.name for variant in shown):
        return [figures.clean(text) for text in (*handlers, *(variant.name for variant in shown))]
    return ["variant", *(figures.clean(_label(variant)) for variant in shown)]


def _label(variant: VariantSummary) -> str:
    return f"{variant.handler}[{variant.name}]" if variant.name else variant.handler


def _ends(report: ExperimentReport) -> tuple[list[VariantSummary], list[VariantSummary]]:
    """Return the variants to show: all and none, or the best and the worst."""
    variants = list(report.variants)
    if len(variants) <= MOST_ROWS:
        return variants, []
    variants.sort(key=lambda variant: _merit(report, variant), reverse=True)
    return variants[: MOST_ROWS - WORST_ROWS], variants[-WORST_ROWS:]


def _merit(report: ExperimentReport, variant: VariantSummary) -> tuple[float, ...]:
    """Return what to sort by: criteria met, then each required metric, unmeasured ones last."""
    met = 0
    means = []
    for name, threshold in report.experiment.success_criteria.items():
        summary = variant.metrics.get(name)
        mean = math.nan if summary is None else summary.mean
        met += satisfies(threshold, mean)
        signed = mean if threshold.direction == "at_least" else -mean
        means.append(-math.inf if math.isnan(signed) else signed)
    return met, *means


def _metric_names(report: ExperimentReport) -> list[str]:
    measured = {name: None for variant in report.variants for name in variant.metrics}
    return list({**dict.fromkeys(report.experiment.success_criteria), **measured})


def _metric_column(name: str, shown: Sequence[VariantSummary], *, plus_minus: str) -> Column:
    cells = []
    for variant in shown:
        summary = variant.metrics.get(name)
        if summary is None or summary.n == 0:
            cells.append(("-", ""))
            continue
        text = figures.spread(summary.mean, summary.std, plus_minus=plus_minus)
        if summary.n != variant.statuses.get("completed", 0):
            text += f" (n={summary.n})"
        cells.append((text, ""))
    title = figures.shorten(figures.clean(name), TITLE, ellipsis="...")
    return [(title, ""), *cells]


def _outer_columns(report: ExperimentReport, shown: Sequence[VariantSummary]) -> list[Column]:
    """Return the columns around the metrics: runs; then status, verdict, criteria where said."""
    columns: list[Column] = [[("runs", ""), *map(_runs_cell, shown)]]
    criteria = report.experiment.success_criteria
    optional = [
        ("status", list(map(_status_cell, shown))),
        ("verdict", list(map(_verdict_cell, shown))),
        ("criteria", [_criteria_cell(report, variant) for variant in shown] if criteria else []),
    ]
    columns += [[(title, ""), *cells] for title, cells in optional if any(t for t, _ in cells)]
    return columns


def _runs_cell(variant: VariantSummary) -> Span:
    return f"{variant.statuses.get('completed', 0)}/{sum(variant.statuses.values())}", ""


def _status_cell(variant: VariantSummary) -> Span:
    others = {way: n for way, n in variant.statuses.items() if way != "completed" and n}
    red = others.keys() - {"skipped", "cancelled", "preempted"}
    return ", ".join(f"{n} {way}" for way, n in others.items()), "red" if red else "yellow"


def _verdict_cell(variant: VariantSummary) -> Span:
    said = {word: n for word, n in variant.verdicts.items() if word != "not_evaluated" and n}
    colour = "red" if "fail" in said else "yellow" if "undecided" in said else "green"
    return ", ".join(f"{n} {word}" for word, n in said.items()), colour


def _criteria_cell(report: ExperimentReport, variant: VariantSummary) -> Span:
    criteria = report.experiment.success_criteria
    if variant.statuses.get("completed") and criteria.keys().isdisjoint(variant.metrics):
        return "-", ""  # of a handler that is there for something else
    verdict = judge_variant(criteria, variant).verdict
    return CRITERIA_WORDS[verdict]


def _fitting(metrics: dict[str, Column], *, room: int) -> list[str]:
    """Return the metrics for which there is room, in order; the first one always."""
    kept: list[str] = []
    for name, column in metrics.items():
        if not kept or _width(column) <= room:
            kept.append(name)
            room -= _width(column)
    return kept


def _width(column: Column) -> int:
    return len(GAP) + max(figures.cells(text) for text, _ in column)


def _taken(columns: Sequence[Column]) -> int:
    return len(INDENT) + sum(map(_width, columns))


def _wanted(names: Sequence[str], width: int) -> int:
    """Return the columns that names are given before the second metric is."""
    return min(max(map(figures.cells, names)), max(24, width * 2 // 5))


def _rows(names: Sequence[str], columns: Sequence[Column], *, width: int) -> list[list[Line]]:
    """Return the lines of each row; a name for which there is no room goes on below itself."""
    name_width = min(max(map(figures.cells, names)), max(12, width - _taken(columns)))
    rows: list[list[Line]] = []
    for index, name in enumerate(names):
        first, *rest = figures.fold(name, name_width)
        spans = [(INDENT + figures.pad(first, name_width), "")]
        for column in columns:
            text, colour = column[index]
            spans += [
                (GAP, ""),
                (text, colour),
                (" " * (_width(column) - len(GAP) - figures.cells(text)), ""),
            ]
        rows.append([spans, *([(INDENT + piece, "")] for piece in rest)])
    return rows


def _more(count: int, noun: str, place: str) -> str:
    where = f" in {place}" if place else ""
    return f"... {count} more {noun}{'' if count == 1 else 's'}{where}"


def _stripped(line: Line) -> Line:
    spans = list(line)
    while spans and not spans[-1][0].strip():
        spans.pop()
    return spans
