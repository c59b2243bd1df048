"""The live region at the bottom of a terminal."""

from __future__ import annotations

import os
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gpuexp.live import LiveRegion, Progress, heartbeat


class Window:
    """A terminal window: what is written to it, and what then stands on its screen."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self.stream = pyte.Stream(self.screen)
        self.raw = ""

    def write(self, text: str) -> None:
        self.raw += text
        self.stream.feed(text.replace("\n", "\r\n"))  # as a terminal's driver does

    def size(self) -> os.terminal_size:
        return os.terminal_size((self.screen.columns, self.screen.lines))

    def lines(self) -> list[str]:
        """Return all lines that can be seen or scrolled to, without the blank ones at the end."""
        gone = [
            "".join(line[column].data for column in range(self.screen.columns))
            for line in self.screen.history.top
        ]
        lines = [line.rstrip() for line in (*gone, *self.screen.display)]
        while lines and not lines[-1]:
            lines.pop()
        return lines


def region_in(window: Window, *, colour: bool = False, encoding: str = "utf-8") -> LiveRegion:
    return LiveRegion(write=window.write, size=window.size, colour=colour, encoding=encoding)


def progress(**fields: Any) -> Progress:
    given: dict[str, Any] = {
        "done": 3,
        "total": 12,
        "running": {"exp_mlp[seed:0]": 1.0, "exp_mlp[seed:1]": 65.0},
        "counts": {"passed": 2, "failed": 1, "oom": 0},
        "elapsed": 130.0,
    }
    return Progress(**{**given, **fields})


def test_the_region_shows_counts_and_running_runs_the_oldest_first() -> None:
    window = Window(100)

    region_in(window).draw(progress(eta=30))

    status, *running = window.lines()
    assert status.endswith("3/12 · 2 running · 2 passed · 1 failed · 0:02:10 elapsed · ETA 0:00:30")
    assert "━" in status
    assert running == ["  0:01:05  exp_mlp[seed:1]", "  0:00:01  exp_mlp[seed:0]"]


def test_without_an_estimate_no_eta_is_shown() -> None:
    window = Window()

    region_in(window).draw(progress())

    assert "ETA" not in window.lines()[0]


def test_withdrawing_leaves_nothing_and_the_cursor_where_the_next_line_belongs() -> None:
    window = Window()
    window.write("before\n")
    region = region_in(window)

    region.draw(progress())
    region.withdraw()
    window.write("after\n")

    assert window.lines() == ["before", "after"]


def test_what_a_run_has_said_last_stands_beside_it_and_is_cut_to_the_window() -> None:
    window = Window(50)

    region_in(window).draw(progress(said=lambda name: "step 12  loss 0.31 " + "x" * 50))

    line = window.lines()[1]
    assert line.startswith("  0:01:05  exp_mlp[seed:1]  step 12  loss 0.31 x")
    assert len(line) <= 49


def test_withdrawing_what_is_not_there_writes_nothing() -> None:
    window = Window()

    region_in(window).withdraw()

    assert window.raw == ""


def test_a_smaller_region_leaves_no_remains_of_a_larger_one() -> None:
    window = Window()
    region = region_in(window)

    region.draw(progress())
    region.draw(progress(running={}, counts={}))

    assert len(window.lines()) == 1


def test_at_most_a_third_of_the_window_is_taken() -> None:
    window = Window(80, 12)
    running = {f"exp_mlp[seed:{index}]": float(index) for index in range(30)}

    region_in(window).draw(progress(running=running))

    lines = window.lines()
    assert len(lines) == 4
    assert lines[1] == "  0:00:29  exp_mlp[seed:29]"
    assert lines[3] == "  and 28 more"


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (2, 3), (5, 24), (12, 5), (30, 6)])
def test_a_tiny_window_is_neither_wrapped_nor_scrolled(columns: int, rows: int) -> None:
    window = Window(columns, rows)
    region = region_in(window)

    for _ in range(3):
        region.draw(progress(running={"x" * 100: 1.0, "精" * 50: 2.0}))

    assert not window.screen.history.top
    assert len(window.lines()) <= max(1, rows // 3)
    region.withdraw()
    assert window.lines() == []


def test_stray_output_replaces_the_region_and_stays() -> None:
    window = Window()
    region = region_in(window)
    region.draw(progress())

    window.write("Warning: something that another library prints, longer than a word or two\n" * 2)
    region.draw(progress())
    region.withdraw()

    assert sum("Warning: something" in line for line in window.lines()) == 2


def test_a_window_made_smaller_leaves_no_remains() -> None:
    window = Window(100, 30)
    region = region_in(window)
    region.draw(progress())

    window.screen.resize(columns=50)
    region.withdraw()

    assert window.lines() == []


def test_colours_are_used_only_where_pytest_uses_them() -> None:
    plain, coloured = Window(), Window()

    region_in(plain).draw(progress())
    region_in(coloured, colour=True).draw(progress())

    assert "\x1b[3" not in plain.raw
    assert "\x1b[31m1 failed" in coloured.raw
    assert plain.lines()[1:] == coloured.lines()[1:]


def test_a_terminal_without_unicode_gets_none() -> None:
    window = Window(100)

    region_in(window, encoding="ascii").draw(progress(running={"exp_精[seed:0]" * 20: 1.0}))

    assert window.raw.isascii()
    assert "3/12, 1 running" in window.lines()[0]


def test_names_cannot_steer_the_terminal() -> None:
    window = Window()

    region_in(window).draw(progress(running={"a\x1b[2J\x1b[Hb\nc[bold]": 1.0}))

    assert window.lines()[1] == "  0:00:01  a [2J [Hb c[bold]"


NAMES = st.text(min_size=1, max_size=90)


@settings(deadline=None, max_examples=40)
@given(
    steps=st.lists(st.dictionaries(NAMES, st.floats(0, 1e6), max_size=12) | st.none(), max_size=12),
    columns=st.integers(min_value=20, max_value=120),
    rows=st.integers(min_value=3, max_value=30),
)
def test_lines_between_draws_are_all_that_remains(
    steps: list[dict[str, float] | None], columns: int, rows: int
) -> None:
    window = Window(columns, rows)
    region = region_in(window, colour=True)
    written: list[str] = []

    for step in steps:
        if step is None:
            region.withdraw()
            written.append(f"line {len(written)}")
            window.write(f"{written[-1]}\n")
        else:
            region.draw(progress(running=step))
    region.withdraw()

    assert window.lines() == written


def test_a_heartbeat_says_as_much_in_one_line() -> None:
    told = progress(done=12, total=300, running=dict.fromkeys("abcd", 1.0), eta=2700)

    assert heartbeat(told) == (
        "gpuexp: 12/300 done, 4 running, 1 failed, 0:02:10 elapsed, ETA 0:45:00"
    )
    assert heartbeat(progress()).endswith("0:02:10 elapsed")
