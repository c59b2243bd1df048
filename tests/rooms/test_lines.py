"""The line that a run leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp import figures
from pytest_gpuexp.lines import Layout, make_layout, run_line, word_of
from pytest_gpuexp.records import Assertion, ExperimentResult, Outcome, RunSpec

NAME = "exp_mlp[lr:0.001-width:32-seed:0]"
RESULT = ExperimentResult(
    experiment_id="c1",
    run_id="r",
    attempt=1,
    handler="exp_mlp",
    name=NAME,
    path="exp_digits.py",
    status="completed",
    verdict="pass",
    config={},
    parameters={},
    seed=0,
    metrics={"train_loss": 0.01, "test_accuracy": 0.972, "parameters": 2410},
    duration_seconds=1.3,
)
SPEC = RunSpec(
    experiment_id="c1",
    handler="exp_mlp",
    function="exp_mlp",
    path="exp_digits.py",
    name=NAME,
    parameters={},
    seed=0,
    run_id="r",
)


def outcome(*reports: dict[str, Any], **fields: Any) -> Outcome:
    return Outcome(result=replace(RESULT, **fields), reports=reports)


def text_of(ended: Outcome, *, width: int = 120, **options: Any) -> str:
    layout = options.pop("layout", Layout(width=width))
    return "".join(text for text, _ in run_line(ended, done=3, total=12, layout=layout, **options))


def assertion(last: str) -> Assertion:
    return Assertion(line=3, source="assert a > 0.5", met=False, count=1, first=last, last=last)


def test_a_line_tells_name_key_metrics_time_and_count() -> None:
    line = text_of(outcome(), key_metrics=["test_accuracy"])

    assert line.startswith(
        "PASSED  exp_digits.py::exp_mlp[lr:0.001-width:32-seed:0]  test_accuracy 0.972  train_loss"
    )
    assert line.endswith("   1.3s  [ 3/12]")
    assert len(line) == 119


def test_metrics_without_room_are_left_out_unless_all_are_asked_for() -> None:
    short = text_of(outcome(), width=96, key_metrics=["test_accuracy", "absent"])
    long = text_of(outcome(), width=96, key_metrics=["test_accuracy"], every_metric=True)

    assert "test_accuracy 0.972" in short
    assert "train_loss" not in short
    assert "test_accuracy 0.972  train_loss 0.01  parameters 2410   " in long


@pytest.mark.parametrize(
    ("fields", "word", "colour"),
    [
        ({}, "PASSED", "green"),
        ({"verdict": "not_evaluated"}, "PASSED", "green"),
        ({"verdict": "fail"}, "FAILED", "red"),
        ({"verdict": "fail", "expected_failure": "too hard"}, "XFAIL", "yellow"),
        ({"status": "failed", "expected_failure": "no GPU code"}, "XFAIL", "yellow"),
        ({"status": "failed"}, "ERROR", "red"),
        ({"status": "timeout"}, "TIMEOUT", "red"),
        ({"status": "oom"}, "OOM", "red"),
        ({"status": "preempted"}, "PREEMPTED", "yellow"),
        ({"status": "cancelled"}, "CANCELLED", "yellow"),
        ({"status": "lost"}, "LOST", "red"),
        ({"status": "skipped"}, "SKIPPED", "yellow"),
    ],
)
def test_each_ending_has_its_word_and_colour(
    fields: dict[str, Any], word: str, colour: str
) -> None:
    assert word_of(outcome(**fields)) == (word, colour)
    assert text_of(outcome(**fields)).startswith(word)


def test_the_word_agrees_with_how_pytest_counts_the_run() -> None:
    call = {"when": "call", "outcome": "passed"}

    assert word_of(outcome({**call, "wasxfail": "soon"})) == ("XPASS", "yellow")
    assert word_of(outcome({**call, "outcome": "failed"})) == ("FAILED", "red")
    assert word_of(outcome(call, {"when": "teardown", "outcome": "failed"})) == ("ERROR", "red")


@pytest.mark.parametrize(
    ("last", "shown"),
    [
        ("0.41 > 0.5", "0.41 > 0.5"),
        ("assert 0.41 > 0.5", "0.41 > 0.5"),
        ("no better than chance\nassert 0.41 > 0.5", "0.41 > 0.5 (no better than chance)"),
    ],
)
def test_a_failed_assertion_shows_its_values(last: str, shown: str) -> None:
    met = replace(assertion("1 > 0"), met=True)

    line = text_of(outcome(verdict="fail", assertions=[met, assertion(last)], metrics={}))

    assert f"seed:0]  {shown}   " in line


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        (
            {"status": "failed", "error_type": "ValueError", "error_message": "bad\nmore"},
            "ValueError: bad",
        ),
        ({"status": "failed", "error_type": "ValueError"}, "ValueError"),
        ({"status": "timeout", "error_message": "ended after 10m"}, "ended after 10m"),
        ({"expected_failure": "too hard", "verdict": "fail"}, "too hard"),
        ({"verdict": "fail", "error_message": "0.4 > 0.5"}, "0.4 > 0.5"),
    ],
)
def test_a_run_that_went_wrong_says_why(fields: dict[str, Any], shown: str) -> None:
    assert f"seed:0]  {shown}   " in text_of(outcome(metrics={}, **fields))


def test_the_reason_of_a_skip_or_a_crash_is_taken_from_the_report_where_the_record_has_none() -> (
    None
):
    skip = {"outcome": "skipped", "longrepr": ["exp_digits.py", 3, "Skipped: no GPU"]}
    crash = {"outcome": "failed", "longrepr": {"reprcrash": {"message": "XPASS(strict)\nx"}}}

    assert "]  no GPU   " in text_of(outcome(skip, status="skipped", metrics={}))
    assert "]  XPASS(strict)   " in text_of(outcome({**crash, "when": "call"}, metrics={}))


def test_long_errors_are_cut_at_their_end_and_nothing_moves_the_cursor() -> None:
    line = text_of(outcome(status="failed", error_type="E", error_message="\x1b[2J" + "x" * 500))

    assert len(line) == 119
    assert "E: [2Jxxx" in line
    assert "x…" in line


def test_the_path_is_left_out_where_it_would_take_a_metrics_room() -> None:
    wide = make_layout([SPEC] * 12, width=110)
    narrow = make_layout([SPEC] * 12, width=80)

    assert wide.with_path
    assert not narrow.with_path
    assert "PASSED  exp_mlp[lr:0.001-width:32-seed:0]  test_accuracy 0.972" in text_of(
        outcome(), layout=narrow, key_metrics=["test_accuracy"]
    )


def test_names_of_different_length_line_up() -> None:
    shorter = "exp_mlp[lr:1-seed:0]"
    layout = make_layout([SPEC, replace(SPEC, name=shorter)], width=120)

    lines = [text_of(outcome(name=name), layout=layout) for name in (NAME, shorter)]

    assert len({line.index("train_loss") for line in lines}) == 1


@given(
    name=st.text(min_size=1, max_size=120),
    message=st.text(max_size=80),
    metric=st.text(max_size=30),
    value=st.floats(),
    width=st.integers(min_value=50, max_value=200),
)
def test_every_line_fits_the_terminal(
    name: str, message: str, metric: str, value: float, width: int
) -> None:
    layout = make_layout([replace(SPEC, name=name)], width=width)
    ended = outcome(name=name, status="failed", error_message=message, metrics={metric: value})

    line = text_of(ended, layout=layout)

    assert line.isprintable()
    assert figures.cells(line) <= width
