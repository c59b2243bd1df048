"""The live region at the bottom of a terminal."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuexp import figures

if TYPE_CHECKING:
    from rich.console import RenderableType

COLOURS = {"passed": "green", "skipped": "yellow", "xfailed": "yellow", "cancelled": "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a session stands; times in seconds, ``eta`` None where it cannot be told yet."""

    done: int
    total: int
    running: Mapping[str, float]
    counts: Mapping[str, int]
    elapsed: float
    eta: float | None = None
    said: Callable[[str], str] = lambda name: ""  # what a run has said last, by its name

    def words(self) -> list[tuple[str, str]]:
        """Return the parts of the status line, each with its colour."""
        parts = [(f"{self.done}/{self.total}", "bold"), (f"{len(self.running)} running", "")]
        parts += [(f"{n} {way}", COLOURS.get(way, "red")) for way, n in self.counts.items() if n]
        parts.append((f"{figures.elapsed(self.elapsed)} elapsed", ""))
        if self.eta is not None:
            parts.append((f"ETA {figures.elapsed(self.eta)}", ""))
        return parts


def heartbeat(progress: Progress) -> str:
    """Return a line that says as much in a log: ``gpuexp: 12/300 done, 4 running, ...``."""
    parts = [f"{progress.done}/{progress.total} done", f"{len(progress.running)} running"]
    parts += [f"{n} {way}" for way, n in progress.counts.items() if n and way != "passed"]
    parts.append(f"{figures.elapsed(progress.elapsed)} elapsed")
    if progress.eta is not None:
        parts.append(f"ETA {figures.elapsed(progress.eta)}")
    return "gpuexp: " + ", ".join(parts)


class LiveRegion:
    """A few lines below all other output, drawn over in place.

    The cursor is parked at the region's first column, so that taking the region away is "erase
    from here to the end of the screen", whatever the user did to the window in the meantime; a
    stray line that somebody else prints replaces the region instead of ending up inside it.
    """

    def __init__(
        self,
        *,
        write: Callable[[str], object],
        size: Callable[[], os.terminal_size],
        colour: bool,
        encoding: str = "utf-8",
    ) -> None:
        """Draw by ``write``, which must send its text to the terminal at once."""
        self._write = write
        self._size = size
        self._colour = colour
        self._encoding = encoding
        self.drawn = False

    def draw(self, progress: Progress) -> None:
        """Show ``progress``, in at most a third of the terminal's height."""
        columns, rows = self._size()
        lines = self._render(progress, width=max(1, columns - 1), height=max(1, rows // 3))
        back = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
        self._write("\r" + "\r\n".join(f"{line}\x1b[K" for line in lines) + f"\x1b[J{back}\r")
        self.drawn = True

    def withdraw(self) -> None:
        """Erase the region; the cursor stays where the next line belongs."""
        if self.drawn:
            self._write("\r\x1b[J")
            self.drawn = False

    def _render(self, progress: Progress, *, width: int, height: int) -> list[str]:
        # Rich takes 40 ms to import: only sessions that last long enough to be watched pay it.
        from rich.console import Console, Group

        sink = io.TextIOWrapper(
            io.BytesIO(), encoding=self._encoding, errors="replace", newline="\n"
        )
        console = Console(
            file=sink,
            width=width,
            height=height,
            force_terminal=self._colour,
            color_system="standard" if self._colour else None,
            no_color=not self._colour,
            force_jupyter=False,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
        )
        fits = not console.options.ascii_only
        rows = [_status_row(progress, width=width, unicode=fits)]
        rows += _running_rows(progress, width=width, limit=height - 1, unicode=fits)
        console.print(Group(*rows), soft_wrap=False)
        sink.flush()
        text = sink.buffer.getvalue().decode(self._encoding)
        return [line.rstrip() for line in text.splitlines()[:height]]


def _status_row(progress: Progress, *, width: int, unicode: bool) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    words = Text(no_wrap=True, overflow="ellipsis" if unicode else "crop")
    for index, (text, style) in enumerate(progress.words()):
        words.append((" · " if unicode else ", ") if index else "")
        words.append(text, style=style or None)
    row = Table.grid(padding=(0, 1, 0, 0))
    bar = min(30, width - words.cell_len - 2)
    if bar < 8:
        words.truncate(width - 1)
        row.add_row("", words)
    else:
        done = ProgressBar(
            total=max(1, progress.total),
            completed=progress.done,
            width=bar,
            complete_style="green",
            finished_style="green",
        )
        row.add_row("", done, words)
    return row


def _running_rows(
    progress: Progress, *, width: int, limit: int, unicode: bool
) -> list[RenderableType]:
    from rich.text import Text

    oldest = sorted(progress.running.items(), key=lambda run: -run[1])
    shown = oldest if len(oldest) <= limit else oldest[: max(0, limit - 1)]
    ellipsis = "…" if unicode else "..."
    rows: list[RenderableType] = []
    for name, age in shown:
        clock = figures.elapsed(age)
        fitted = figures.shorten(figures.clean(name), width - len(clock) - 4, ellipsis=ellipsis)
        row = Text.assemble("  ", (clock, "cyan"), f"  {fitted}", no_wrap=True)
        if row.cell_len + 4 < width and (said := progress.said(name)):
            row.append(f"  {said}")
            row.truncate(width)
        rows.append(row)
    if limit > 0 and len(shown) < len(oldest):
        more = f"  and {len(oldest) - len(shown)} more"
        rows.append(Text(figures.shorten(more, width, ellipsis=ellipsis), no_wrap=True))
    return rows
