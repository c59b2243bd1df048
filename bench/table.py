"""The figures as text: one table a kind of work, and one of the targets."""

from __future__ import annotations

from collections.abc import Sequence

from bench.contenders import Contender
from bench.figures import Sheet, ratio
from bench.targets import TARGETS
from bench.task import Work

# The size at which each kind of work is compared with plain pytest.
COMMON: dict[Work, int] = {"noop": 200, "torch": 200}
YES_NO = {True: "yes", False: "NO", None: "not measured"}


def render(sheet: Sheet, contenders: Sequence[Contender], works: Sequence[Work]) -> str:
    """Return all tables that ``sheet`` has figures for."""
    parts = [_work(sheet, contenders, work) for work in works]
    return "\n\n".join([*(part for part in parts if part), _targets(sheet)])


def _work(sheet: Sheet, contenders: Sequence[Contender], work: Work) -> str:
    taking_part = [c for c in contenders if sheet.of(c.name, work)]
    if not taking_part:
        return ""
    head = ("contender", "process", "wall (runs: s)", "ms a run", "x plain", "x ours", "peak MiB")
    rows = [_row(sheet, contender, work) for contender in taking_part]
    return f"{work}\n{_grid(head, rows)}"


def _row(sheet: Sheet, contender: Contender, work: Work) -> tuple[str, ...]:
    figures = sheet.of(contender.name, work)
    if failures := [f"{f.runs} runs: {f.failure}" for f in figures if f.failure]:
        return (contender.title, contender.isolation, failures[0])
    marginal = sheet.marginal_ms(contender.name, work)
    peak = sheet.peak_kib(contender.name, work)
    return (
        contender.title,
        contender.isolation,
        "  ".join(f"{figure.runs}: {min(figure.walls_s):.2f}" for figure in figures),
        _number(marginal),
        _times_plain(sheet, contender, work),
        _number(ratio(marginal, sheet.marginal_ms("ours", work))),
        _number(None if peak is None else peak / 1024),
    )


def _times_plain(sheet: Sheet, contender: Contender, work: Work) -> str:
    if work not in COMMON:
        wall, plain = (sheet.largest_wall_s(name, work) for name in (contender.name, "plain"))
        return _number(ratio(wall, plain))
    runs = COMMON[work]
    value = ratio(sheet.reckoned_s(contender.name, work, runs), sheet.wall_s("plain", work, runs))
    reckoned = value is not None and sheet.wall_s(contender.name, work, runs) is None
    return f"{'~' if reckoned else ''}{_number(value)}"


def _targets(sheet: Sheet) -> str:
    rows = []
    for target in TARGETS:
        value = target.measure(sheet)
        shown = "-" if value is None else f"{_number(value)}{target.unit}"
        rows.append((target.named(sheet), shown, target.wanted(), YES_NO[target.met(value)]))
    return f"targets\n{_grid(('what', 'measured', 'target', 'met'), rows)}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns; a row cut short, such as a failure, may run on and widens nothing."""
    whole = [row for row in (head, *rows) if len(row) == len(head)]
    first = [max(len(row[i]) for row in (head, *rows)) for i in (0, 1)]
    widths = [*first, *(max(len(row[i]) for row in whole) for i in range(2, len(head)))]
    lines = []
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
