"""What people see of a session; the only room that speaks to the terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import pytest

from pytest_gpuexp import assessments, estimates, lines, live, plan_lines, silence, tables
from pytest_gpuexp.conclusions import ExperimentReport
from pytest_gpuexp.plan import UNREADABLE
from pytest_gpuexp.protocols import Display
from pytest_gpuexp.records import Outcome, RunSpec
from pytest_gpuexp.screen import Reporter, Writer

REDRAW_SECONDS = 0.2
CALM_SECONDS = 0.15  # after a line, before the live region comes back
UNWATCHED_SECONDS = 0.5  # sessions shorter than this draw no live region


class Terminal:
    """The display of a session that has a terminal, a pipe or a log to write to."""

    def __init__(
        self,
        *,
        reporter: Reporter,
        writer: Writer,
        clock: Callable[[], float],
        size: Callable[[], os.terminal_size],
        is_terminal: bool,
        ci: bool,
        encoding: str = "utf-8",
        key_metrics: Mapping[str, Sequence[str]] | None = None,
        heartbeat_seconds: float = 30.0,
    ) -> None:
        """Write through ``reporter``; ``clock`` gives seconds that never go back.

        ``key_metrics`` names, for each experiment, the metrics that a run's line shows first; it is
        read when a run ends, so it may be filled later. A live region is drawn where
        ``is_terminal`` and not ``ci``; elsewhere a line is written every ``heartbeat_seconds``.
        """
        self._reporter = reporter
        self._writer = writer
        self._clock = clock
        self._key_metrics = {} if key_metrics is None else key_metrics
        self._heartbeat_seconds = heartbeat_seconds
        self._unicode = _encodes("±…·━", encoding)
        self._quiet = reporter.verbosity < 0
        self._verbose = reporter.verbosity > 0
        self._layout = lines.Layout(width=writer.fullwidth, ellipsis=self._ellipsis)
        self._region: live.LiveRegion | None = None
        if is_terminal and not ci:
            self._region = live.LiveRegion(
                write=self._send, size=size, colour=writer.hasmarkup, encoding=encoding
            )
        self._estimate = estimates.Estimate()
        self._last_line = float("-inf")
        self._started = self._due = 0.0
        self._start(clock())

    def plan_made(
        self,
        plan: Mapping[str, Sequence[RunSpec]],
        *,
        facts: Mapping[str, str],
        resumption: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Show what will run, one line an experiment, with ``facts`` (none: no line) below."""
        self._start(self._clock())
        if self._quiet:
            for name, reason in resumption:
                if reason.startswith(UNREADABLE):
                    self.notice(f"{name} runs again: {reason}")
            return
        specs = (spec for runs in plan.values() for spec in runs)
        self._layout = lines.make_layout(
            specs, width=self._writer.fullwidth, ellipsis=self._ellipsis
        )
        for text in plan_lines.plan_lines(plan):
            self._write_line([(text, "")])
        if facts:
            self._write_line([(plan_lines.facts_line(facts, separator=self._dot), "")])
        for text in plan_lines.resumption_lines(resumption, every_run=self._verbose):
            self._write_line([(text, "")])

    @property
    def shows_runs(self) -> bool:
        """Whether each run gets a line of its own: unless -q asks for pytest's letters."""
        return not self._quiet

    def notice(self, text: str) -> None:
        """Show one line that the user should not miss."""
        self.withdraw()
        self._write_line([(f"gpuexp: {text}", "yellow")])

    def progress(
        self,
        *,
        done: int,
        total: int,
        running: Mapping[str, float],
        counts: Mapping[str, int],
        said: Callable[[str], str] = lambda name: "",
    ) -> None:
        """Redraw the live region or write a heartbeat, where one is due; else cost nothing."""
        now = self._clock()
        if now < self._due:
            return
        self._estimate.widen(len(running))
        progress = live.Progress(
            done=done,
            total=total,
            running=running,
            counts=counts,
            said=said,
            elapsed=now - self._started,
            eta=self._estimate.seconds_left(
                pending=total - done - len(running), ages=running.values()
            ),
        )
        if self._region is None:
            self._due = now + self._heartbeat_seconds
            self._write_line([(live.heartbeat(progress), "")])
            return
        self._due = now + REDRAW_SECONDS
        if not self._region.drawn:
            self._finish_line()
        self._region.draw(progress)

    def run_finished(self, outcome: Outcome, *, done: int, total: int) -> None:
        """Show one line for a run that has ended."""
        self._estimate.add(outcome.result)
        if self._quiet:
            return
        now = self._clock()
        self.withdraw()
        self._write_line(
            lines.run_line(
                outcome,
                done=done,
                total=total,
                layout=self._layout,
                key_metrics=self._key_metrics.get(outcome.result.experiment_id, ()),
                every_metric=self._verbose,
            )
        )
        if self._region is not None:
            # Lines that come one by one get the region back at once; a storm of them does not.
            calm = now - self._last_line >= CALM_SECONDS
            earliest = now if calm else now + CALM_SECONDS
            self._due = max(earliest, self._started + UNWATCHED_SECONDS)
        self._last_line = now

    def withdraw(self) -> None:
        """Take the live region off the screen, so that others can write."""
        if self._region is not None:
            self._region.withdraw()

    def session_finished(
        self, reports: Sequence[ExperimentReport], *, places: Mapping[str, str]
    ) -> None:
        """Show what each experiment comes to; under ``--no-summary`` nothing."""
        self.withdraw()
        if self._reporter.no_summary or not reports:
            return
        if self._quiet:
            for report in reports:
                place = places.get(report.experiment.experiment_id, "")
                self._write_line([(assessments.assessment_line(report, place=place), "")])
            return
        self._reporter.write_sep("=", "experiments", bold=True)
        for index, report in enumerate(reports):
            if index:
                self._write_line([])
            self._show(report, place=places.get(report.experiment.experiment_id, ""))

    def _show(self, report: ExperimentReport, *, place: str) -> None:
        width = self._writer.fullwidth
        self._write_line(assessments.heading(report))
        table = tables.variant_table(
            report,
            width=width,
            place=place,
            plus_minus="±" if self._unicode else "+/-",
            every_metric=self._verbose,
        )
        for line in table or [[("  no runs", "")]]:
            self._write_line(line)
        for line in assessments.assessment_lines(
            report, width=width, place=place, every_judgement=self._verbose
        ):
            self._write_line(line)

    def _start(self, now: float) -> None:
        self._started = now
        if self._quiet:
            self._due = float("inf")
        else:
            self._due = now + (
                self._heartbeat_seconds if self._region is None else UNWATCHED_SECONDS
            )

    def _write_line(self, line: lines.Line) -> None:
        self._reporter.ensure_newline()
        for text, colour in line:
            if colour:
                self._reporter.write(text, **{colour: True})
            else:
                self._reporter.write(text)
        self._reporter.write("\n", flush=True)

    def _finish_line(self) -> None:
        """Leave a line that pytest has begun, or the region would be drawn over it."""
        self._reporter.ensure_newline()
        if self._writer.width_of_current_line > 0:
            self._reporter.write("\n")

    def _send(self, text: str) -> None:
        self._reporter.write_raw(text, flush=True)

    @property
    def _ellipsis(self) -> str:
        return "…" if self._unicode else "..."

    @property
    def _dot(self) -> str:
        return " · " if self._unicode else ", "


def build(
    config: pytest.Config,
    *,
    key_metrics: Mapping[str, Sequence[str]] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Display:
    """Return the display that fits ``config``; call it when a session starts or later.

    Before that pytest's own reporter, through which all is written, may not be there yet.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return silence.Silent()
    environ = os.environ
    return Terminal(
        reporter=reporter,
        writer=config.get_terminal_writer(),
        clock=clock,
        size=shutil.get_terminal_size,
        # With -s whatever runs in this process prints between our lines: no region then.
        is_terminal=reporter.isatty()
        and environ.get("TERM") != "dumb"
        and config.getoption("capture", "no") != "no",
        ci=bool(environ.get("CI")) or "BUILD_NUMBER" in environ,
        encoding=getattr(sys.__stdout__, "encoding", None) or "utf-8",
        key_metrics=key_metrics,
    )


def _encodes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
