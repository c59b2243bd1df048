"""When the live region or a heartbeat is shown, and when not."""

from __future__ import annotations

import timeit

import pytest

from tests.rooms.screens import REPORT, Clock, Screen, end_run, tell, terminal_on


def test_a_log_gets_a_heartbeat_every_thirty_seconds_and_none_before() -> None:
    screen, clock = Screen(), Clock()
    display = terminal_on(screen, clock)
    display.plan_made({}, facts={})

    beats = []
    for _ in range(700):
        clock.now += 0.1
        tell(display, done=1)
        if line := screen.taken():
            beats.append((round(clock.now - 1000), line))

    assert beats == [
        (30, "gpuexp: 1/12 done, 2 running, 0:00:30 elapsed\n"),
        (60, "gpuexp: 1/12 done, 2 running, 0:01:00 elapsed\n"),
    ]


def test_a_heartbeat_tells_when_the_rest_will_be_done_once_two_runs_have_ended() -> None:
    screen, clock = Screen(), Clock()
    display = terminal_on(screen, clock)
    end_run(display)
    end_run(display, done=2)
    screen.taken()

    clock.now += 31
    tell(display, done=2)

    # Eight runs wait, two are halfway: (8 x 2 s + 2 x 1 s) / 2 at once.
    assert screen.taken().endswith("ETA 0:00:09\n")


@pytest.mark.parametrize("options", [{"is_terminal": True, "ci": True}, {"is_terminal": False}])
def test_nothing_moves_the_cursor_in_ci_or_a_pipe(options: dict[str, bool]) -> None:
    screen, clock = Screen(), Clock()
    display = terminal_on(screen, clock, **options)

    for done in range(1, 5):
        clock.now += 31
        tell(display, done=done)
        end_run(display, done=done)
    display.withdraw()
    display.session_finished([REPORT], places={})

    assert "\x1b" not in screen.text
    assert "\r" not in screen.text


def test_a_short_session_draws_no_live_region() -> None:
    screen, clock = Screen(), Clock()
    display = terminal_on(screen, clock, is_terminal=True)
    display.plan_made({}, facts={})

    clock.now += 0.49
    tell(display)

    assert screen.taken() == ""
    clock.now += 0.02
    tell(display)
    assert "0/12" in screen.taken()


def test_the_live_region_is_redrawn_five_times_a_second_at_most() -> None:
    screen, clock = Screen(), Clock()
    display = terminal_on(screen, clock, is_terminal=True)
    clock.now += 1

    draws = 0
    for _ in range(1000):
        clock.now += 0.001
        tell(display)
        draws += bool(screen.taken())

    assert draws == 5


def test_a_storm_of_short_runs_draws_no_live_region() -> None:
    screen, clock = Screen(), Clock()
    display = terminal_on(screen, clock, is_terminal=True)
    clock.now += 1
    end_run(display)

    for done in range(2, 12):
        clock.now += 0.1
        end_run(display, done=done)
        tell(display, done=done)

    assert "\x1b" not in screen.taken()
    clock.now += 0.2
    tell(display, done=11)
    assert "\x1b[J" in screen.taken()


def test_lines_that_come_one_by_one_get_the_live_region_back_at_once() -> None:
    screen, clock = Screen(), Clock()
    display = terminal_on(screen, clock, is_terminal=True)
    clock.now += 1
    tell(display)
    screen.taken()

    end_run(display)
    tell(display, done=1)

    erase, line, region = screen.taken().partition("PASSED")[0], "PASSED", screen.text
    assert (erase, line, region) == ("\r\x1b[J", "PASSED", "")


def test_the_live_region_is_not_drawn_over_a_line_that_somebody_began() -> None:
    screen, clock = Screen(), Clock()
    display = terminal_on(screen, clock, is_terminal=True)
    clock.now += 1
    screen.write("50%")

    tell(display)

    assert screen.taken().startswith("50%\n\r")


def test_telling_the_progress_costs_next_to_nothing_when_nothing_is_due() -> None:
    display = terminal_on(Screen(), is_terminal=True)
    running: dict[str, float] = {}
    counts: dict[str, int] = {}

    seconds = min(
        timeit.repeat(
            lambda: display.progress(done=1, total=2, running=running, counts=counts),
            number=1000,
            repeat=5,
        )
    )

    assert seconds / 1000 < 50e-6  # about 0.3e-6 on an idle machine
