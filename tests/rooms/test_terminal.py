"""What people see of a session."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from pytest_gpuexp.protocols import Display
from pytest_gpuexp.records import Experiment
from pytest_gpuexp.silence import Silent
from tests.rooms.screens import REPORT, SPECS, Clock, Screen, end_run, tell, terminal_on


def test_the_plan_is_shown_with_its_facts_before_the_first_run() -> None:
    screen = Screen()

    terminal_on(screen).plan_made({"c1": SPECS}, facts={"backend": "local", "GPUs": "none (CPU)"})

    assert screen.text == "c1: 12 runs = exp_mlp 12 seeds\nbackend local · GPUs none (CPU)\n"


def test_a_run_that_ended_is_one_line_with_key_metrics_first_and_a_coloured_word() -> None:
    screen = Screen()
    display = terminal_on(screen, key_metrics={"c1": ["accuracy"]})

    end_run(display)

    assert screen.text.startswith("PASSED  exp_c1.py::exp_mlp[seed:0]  accuracy 0.97  loss 0.1 ")
    assert screen.text.endswith("2.0s  [ 1/12]\n")
    assert screen.coloured == [("PASSED", "green")]


def test_key_metrics_may_be_known_later_than_the_display() -> None:
    screen = Screen()
    key_metrics: dict[str, list[str]] = {}
    display = terminal_on(screen, key_metrics=key_metrics)

    key_metrics["c1"] = ["accuracy"]
    end_run(display)

    assert "]  accuracy 0.97  loss 0.1" in screen.text


def test_a_line_that_pytest_began_is_ended_first() -> None:
    screen = Screen()
    display = terminal_on(screen)
    screen.begin("test_a.py ..")

    end_run(display)

    assert screen.text.startswith("test_a.py ..\nPASSED ")


def test_every_metric_is_shown_with_v() -> None:
    screen = Screen(verbosity=1)

    end_run(terminal_on(screen), metrics={f"metric_{index}": 0.5 for index in range(30)})

    assert "metric_29 0.5" in screen.text


def test_a_resumption_stands_below_the_plan_and_damage_is_told_with_q_too() -> None:
    resumption = [("exp_a", "kept"), ("exp_b", "unreadable record: c1/records/b.1.yaml")]
    screen, quiet = Screen(), Screen(verbosity=-1)

    terminal_on(screen).plan_made({"c1": SPECS}, facts={}, resumption=resumption)
    terminal_on(quiet).plan_made({"c1": SPECS}, facts={}, resumption=resumption)

    assert "resume: 1 of 2 runs kept, 1 to run" in screen.text
    assert "  1 unreadable record: c1/records/b.1.yaml" in screen.text
    assert "exp_b runs again: unreadable record: c1/records/b.1.yaml" in quiet.text


def test_with_q_nothing_is_written_until_the_last_line() -> None:
    screen, clock = Screen(verbosity=-1), Clock()
    display = terminal_on(screen, clock, is_terminal=True)

    display.plan_made({"c1": SPECS}, facts={"backend": "local"})
    end_run(display)
    clock.now += 1000
    tell(display)
    display.withdraw()

    assert screen.taken() == ""
    display.session_finished([REPORT], places={"c1": "results/c1/results.yaml"})
    assert screen.taken() == "c1: proceed (pass), results/c1/results.yaml\n"


def test_the_closing_table_has_a_section_with_each_experiment() -> None:
    screen = Screen()
    other = replace(REPORT, experiment=Experiment(experiment_id="c2"))

    terminal_on(screen).session_finished([REPORT, other], places={"c1": "results/c1/results.yaml"})

    assert screen.text == (
        "=== experiments ===\n"
        "c1  It learns.\n"
        "  no runs\n"
        "  verdict         pass: no success criteria are set\n"
        "  confidence      high\n"
        "  recommendation  proceed\n"
        "  report          results/c1/results.yaml\n"
        "\n"
        "c2\n"
        "  no runs\n"
        "  verdict         pass: no success criteria are set\n"
        "  confidence      high\n"
        "  recommendation  proceed\n"
    )


def test_a_notice_is_a_line_of_its_own_also_with_q() -> None:
    for verbosity in (-1, 0):
        screen = Screen(verbosity=verbosity)
        screen.begin("..")

        terminal_on(screen).notice("runs are not forked")

        assert screen.text == "..\ngpuexp: runs are not forked\n"
        assert screen.coloured == [("gpuexp: runs are not forked", "yellow")]


def test_with_q_the_runs_are_left_to_pytests_letters() -> None:
    assert terminal_on(Screen()).shows_runs
    assert not terminal_on(Screen(verbosity=-1)).shows_runs
    assert not Silent().shows_runs


def test_no_summary_is_obeyed() -> None:
    screen = Screen(no_summary=True)

    terminal_on(screen).session_finished([REPORT], places={})

    assert screen.text == ""


def test_a_session_without_experiments_shows_no_section() -> None:
    screen = Screen()

    terminal_on(screen).session_finished([], places={})

    assert screen.text == ""


def test_a_terminal_without_unicode_gets_ascii_for_all_that_is_ours() -> None:
    screen = Screen()
    display = terminal_on(screen, encoding="ascii")

    display.plan_made({"c1": SPECS}, facts={"a": "1", "b": "2"})
    end_run(display, status="failed", error_type="E", error_message="x" * 300)
    display.session_finished([REPORT], places={})

    assert screen.text.isascii()


def test_where_nobody_watches_nothing_happens() -> None:
    display: Display = Silent()

    display.plan_made({"c1": SPECS}, facts={})
    end_run(display)
    tell(display)
    display.notice("unseen")
    display.withdraw()
    display.session_finished([REPORT], places={})


def test_importing_the_room_imports_no_rich() -> None:
    code = "import pytest_gpuexp.terminal, sys; print('rich' in sys.modules)"

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout == "False\n"
