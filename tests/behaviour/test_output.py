"""What a session prints: plan, lines, failures with their logs, table; as pytest's options ask."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.behaviour import sessions
from tests.behaviour.sessions import Ended

SOURCE = """
    import sys
    import warnings

    from pytest_gpuexp import at_least, criterion, experiment, seeds

    pytestmark = experiment("shown", claim="It shows.", success_criteria={"acc": at_least(0.1)})

    @seeds(2)
    def exp_good(runner, seed):
        print("said by good")
        runner.log_metrics({"acc": 0.5})

    def exp_verdict(runner):
        print("said by verdict")
        print("warned by verdict", file=sys.stderr)
        assert 1 == 2, "as it must"

    def exp_crash(runner):
        print("said by crash")
        raise ValueError("broken")

    def exp_warns(runner):
        warnings.warn("brittle")

    @criterion(exp_good)
    def crit_good(replicates):
        print("said by criterion")
        assert replicates["acc"].mean() > 0.9
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sessions.write(tmp_path_factory.mktemp("output"), exp_shown=SOURCE)


@pytest.fixture(scope="module")
def plain(folder: Path) -> Ended:
    return sessions.run(folder)


def test_the_plan_comes_before_the_first_run(plain: Ended) -> None:
    plan = plain.text.index("shown: 5 runs = exp_good 2 seeds")
    facts = plain.text.index("backend local · isolation fork · parallelism")
    first = plain.text.index("exp_shown.py::exp_")

    assert plan < facts < first


def test_each_run_has_one_line_with_its_status_and_counter(plain: Ended) -> None:
    before = plain.text.partition("= ERRORS =")[0]
    lines = re.findall(r"^(\w+) +exp_shown\.py::(\S+) .*\[(\d)/5\]$", before, re.MULTILINE)

    assert sorted((word, name) for word, name, _ in lines) == [
        ("ERROR", "exp_crash"),
        ("FAILED", "exp_verdict"),
        ("PASSED", "exp_good[seed:0]"),
        ("PASSED", "exp_good[seed:1]"),
        ("PASSED", "exp_warns"),
    ]
    assert [number for *_, number in lines] == list("12345")


def test_a_line_shows_the_required_metrics(plain: Ended) -> None:
    assert re.search(r"^PASSED +exp_shown\.py::exp_good\[seed:0\] +acc 0\.5 ", plain.text, re.M)


def test_a_failure_shows_its_assert_and_the_captured_log(plain: Ended) -> None:
    failure = plain.text.partition("= FAILURES =")[2].partition("crit_good")[0]

    assert "AssertionError: as it must" in failure
    assert "Captured output" in failure
    assert "said by verdict" in failure
    assert "warned by verdict" in failure


def test_a_crash_shows_its_traceback_and_the_captured_log(plain: Ended) -> None:
    error = plain.text.partition("= ERRORS =")[2].partition("= FAILURES =")[0]

    assert "ERROR at run of exp_crash" in error
    assert "ValueError: broken" in error
    assert "said by crash" in error


def test_a_failed_criterion_shows_its_values_and_output(plain: Ended) -> None:
    section = plain.text.partition("_ crit_good _")[2]

    assert "0.5" in section
    assert "said by criterion" in section


def test_a_warning_of_a_handler_is_told(plain: Ended) -> None:
    assert "UserWarning: brittle" in plain.text


def test_the_closing_table_comes_before_the_short_summary(plain: Ended) -> None:
    table = plain.text.index("= experiments =")
    place = plain.text.index("results/shown/results.yaml")
    summary = plain.text.index("short test summary info")

    assert table < place < summary
    assert "acc" in plain.text[table:place]


def test_counts_are_pytests(plain: Ended) -> None:
    assert "2 failed, 4 passed, 1 warning, 1 error in" in plain.text


def test_quiet_leaves_letters_and_one_line_an_experiment(folder: Path) -> None:
    ended = sessions.run(folder, "-q")

    assert "backend local" not in ended.text
    assert "[1/5]" not in ended.text
    assert "= experiments =" not in ended.text
    assert re.search(r"^shown: investigate .*results/shown/results\.yaml$", ended.text, re.M)


def test_no_summary_leaves_out_the_table(folder: Path) -> None:
    ended = sessions.run(folder, "--no-summary")

    assert "= experiments =" not in ended.text
    assert "PASSED" in ended.text


def test_verbose_names_each_criterion_and_colour_is_used_where_asked_for(folder: Path) -> None:
    ended = sessions.run(
        folder, "-v", "--color=yes", "--tb=short", "--durations=0", "--durations-min=0"
    )

    assert re.search(r"exp_shown\.py::crit_good .*FAILED", ended.text)
    assert "\x1b[" in ended.text
    assert "slowest durations" in ended.text
    assert re.search(r"s (?:setup|teardown) +exp_shown\.py::exp_good\[seed:0\]", ended.text)
    assert re.search(r"s call +exp_shown\.py::exp_good\[seed:0\]", ended.text)
    assert "runner = <" not in ended.text


def test_no_colour_is_used_where_none_is_asked_for(plain: Ended, folder: Path) -> None:
    ended = sessions.run(folder, "--color=no", changes={"FORCE_COLOR": "1"})

    assert "\x1b[" not in plain.text
    assert "\x1b[" not in ended.text


OTHERS = """
    import random

    def pytest_runtest_setup(item):
        random.seed(99)

    def pytest_runtest_call(item):
        random.seed(99)
"""
SEEDED = """
    import random

    import numpy as np

    from pytest_gpuexp import seeds

    @seeds([3, 4])
    def exp_seeded(runner, seed):
        runner.log_metrics({"python": random.random(), "numpy": np.random.rand()})
        assert runner.seed == seed
"""


def test_plugins_that_reseed_cover_or_time_tests_do_no_harm(tmp_path: Path) -> None:
    ordinary = "def test_ordinary():\n    pass\n"
    sessions.write(tmp_path, exp_seeded=SEEDED, conftest=OTHERS, test_ordinary=ordinary)

    ended = sessions.run(
        tmp_path, "--cov=.", "--cov-report=term", "--timeout=60", changes=sessions.EVERYBODY
    )

    metrics = [ended.record(f"exp_seeded[seed:{seed}]")["metrics"] for seed in (3, 4)]
    assert ended.code == 0
    assert "3 passed" in ended.text
    assert metrics[0] != metrics[1]
    assert "test_ordinary.py" in ended.text.partition("coverage:")[2]
    assert "Warning" not in ended.text
