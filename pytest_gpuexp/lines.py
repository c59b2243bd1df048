"""The line that a run leaves on the screen when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_gpuexp import figures
from pytest_gpuexp.records import Assertion, ExperimentResult, Outcome, Plain, RunSpec

Span = tuple[str, str]  # a text, and pytest's name of its colour ("green", "bold"), "" for none
Line = Sequence[Span]

WORD = "TIMEOUT"  # words are padded to the length of this one, and few are longer
METRIC_ROOM = 24  # columns that a metric is given before the module's path is
STATUS_WORDS = {
    "failed": ("ERROR", "red"),
    "timeout": ("TIMEOUT", "red"),
    "oom": ("OOM", "red"),
    "preempted": ("PREEMPTED", "yellow"),
    "cancelled": ("CANCELLED", "yellow"),
    "lost": ("LOST", "red"),
    "skipped": ("SKIPPED", "yellow"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How wide the lines of one session are, in columns, and what their names hold."""

    width: int
    name_width: int = 0
    with_path: bool = True
    ellipsis: str = "…"


def make_layout(specs: Iterable[RunSpec], *, width: int, ellipsis: str = "…") -> Layout:
    """Return a layout in which all ``specs`` line up, a metric beside them where there is room.

    The module's path is left out where it would take that room.
    """
    names = long_names = total = 0
    for spec in specs:
        total += 1
        size = len(spec.name)
        names = max(names, size)
        long_names = max(long_names, size + len(spec.path) + 2)
    room = width - 1 - len(WORD) - 1 - 2 - len(f"{0.0:>7.1f}s  [{total}/{total}]")
    with_path = long_names + METRIC_ROOM <= room
    name_width = min(long_names if with_path else names, max(20, room - METRIC_ROOM))
    return Layout(width=width, name_width=name_width, with_path=with_path, ellipsis=ellipsis)


def run_line(
    outcome: Outcome,
    *,
    done: int,
    total: int,
    layout: Layout,
    key_metrics: Sequence[str] = (),
    every_metric: bool = False,
) -> list[Span]:
    """Return what to show of ``outcome``, fitted to the layout's width.

    The metrics named by ``key_metrics`` come first; those without room are left out, unless
    ``every_metric`` is asked for: then the line may be longer than the layout is wide.
    """
    result = outcome.result
    word, colour = word_of(outcome)
    label = f"{result.path}::{result.name}" if layout.with_path else result.name
    tail = f"{figures.duration(result.duration_seconds):>7}  [{done:>{len(str(total))}}/{total}]"
    left = layout.width - 1 - max(len(WORD), len(word)) - 1 - len(tail)
    label = figures.pad(
        figures.shorten(figures.clean(label), max(12, left), ellipsis=layout.ellipsis),
        layout.name_width,
    )
    left -= figures.cells(label)
    shown = []
    message = _message(outcome, word)
    if message and (left >= 12 or every_metric):
        shown.append(figures.cut(message, max(10, left - 2), ellipsis=layout.ellipsis))
        left -= 2 + figures.cells(shown[0])
    for metric in _metrics(result, key_metrics):
        if every_metric or 2 + figures.cells(metric) <= left:
            shown.append(metric)
            left -= 2 + figures.cells(metric)
    middle = "".join(f"  {text}" for text in shown)
    gap = " " * max(0 if left >= 0 else 1, left)
    space = " " * (1 + max(0, len(WORD) - len(word)))
    return [(word, colour), (f"{space}{label}{middle}{gap}{tail}", "")]


def word_of(outcome: Outcome) -> tuple[str, str]:
    """Return the word for how a run ended and its colour; agrees with how pytest counts it."""
    result = outcome.result
    if result.expected_failure is not None:
        return "XFAIL", "yellow"
    if result.status != "completed":
        return STATUS_WORDS[result.status]
    if result.verdict == "fail":
        return "FAILED", "red"
    for report in outcome.reports:
        if report.get("outcome") == "failed":  # a fixture's teardown, or a strict xfail mark
            return ("FAILED", "red") if report.get("when") == "call" else ("ERROR", "red")
        if "wasxfail" in report and report.get("outcome") == "passed":
            return "XPASS", "yellow"
    return "PASSED", "green"


def _message(outcome: Outcome, word: str) -> str:
    result = outcome.result
    if word in ("PASSED", "XPASS"):
        return ""
    if word == "XFAIL":
        return figures.first_line(result.expected_failure or "")
    if result.verdict == "fail":
        failed = next((a for a in result.assertions if not a.met), None)
        if failed is not None:
            return _values(failed)
    said = figures.first_line(result.error_message or "")
    if word == "ERROR" and result.error_type:
        return f"{result.error_type}: {said}" if said else result.error_type
    return said or next(_reported(outcome.reports), "")


def _values(failed: Assertion) -> str:
    """Return ``0.41 > 0.5 (no better than chance)`` of an assertion that was not met."""
    said, _, explained = (failed.last or failed.source).partition("\nassert ")
    message, values = figures.first_line(said), figures.first_line(explained)
    if not values:
        return message.removeprefix("assert ")
    return f"{values} ({message})" if message else values


def _reported(reports: Sequence[Mapping[str, Plain]]) -> Iterator[str]:
    """Yield the first line of what pytest says of each phase that did not pass."""
    for report in reports:
        said = report.get("longrepr")
        if isinstance(said, Mapping):
            crash = said.get("reprcrash")
            said = crash.get("message") if isinstance(crash, Mapping) else None
        elif isinstance(said, list | tuple) and said:
            said = said[-1]  # path, line number, reason of a skip
        if isinstance(said, str) and said.strip():
            yield figures.first_line(said).removeprefix("Skipped: ")


def _metrics(result: ExperimentResult, first: Sequence[str]) -> list[str]:
    names = dict.fromkeys([*(name for name in first if name in result.metrics), *result.metrics])
    return [f"{figures.clean(name)} {figures.number(result.metrics[name])}" for name in names]
