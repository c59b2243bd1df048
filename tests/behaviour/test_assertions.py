"""Every assert of a handler is recorded; whose assert it was decides between verdict and crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.behaviour import sessions
from tests.behaviour.sessions import Ended

EXPERIMENT = '''
    """C9: asserts of all kinds."""


    def exp_same_line(runner, above_half):
        # as many lines from the top as the assert in the conftest.py:
        assert above_half
        above_half(0.1)

    import unittest

    import numpy as np

    import measuring

    def exp_met(runner):
        accuracy = 0.75
        assert accuracy > 0.5, "no better than chance"
        assert (
            accuracy
            < 1
        )
        assert "é" in "café" and not []

    def exp_silent(runner):
        return {"metrics": {"accuracy": 0.5}}

    def exp_loop(runner):
        for step in range(100_000):
            assert step >= 0

    def exp_fails_late(runner):
        for step in range(10):
            runner.log_metrics({"loss": 10 - step})
            assert step < 7, f"diverged at {step}"

    def exp_never_reached(runner):
        assert 1 + 1 == 3
        assert "this line never runs"

    def exp_long(runner):
        accuracy = 0.25
        assert (
            accuracy
            > 0.5
        ), "no better than chance"

    def exp_own_function(runner):
        _check(0.1)

    def _check(value):
        assert value > 0.5

    def exp_raises_by_hand(runner):
        raise AssertionError("by hand")

    def exp_fixture_of_a_conftest(runner, above_half):
        above_half(0.1)

    def exp_numpy(runner):
        runner.log_metrics({"loss": 0.25})
        np.testing.assert_allclose(1, 2)

    def exp_other_module(runner):
        measuring.measure(0.1)

    def exp_unittest(runner):
        unittest.TestCase().assertEqual(1, 2)

    def exp_caught(runner):
        try:
            assert 1 == 2
        except AssertionError:
            pass
        assert 2 == 2
'''
CONFTEST = """
    import pytest

    @pytest.fixture
    def above_half():
        def check(value):
            assert value > 0.5

        return check
"""
MEASURING = """
    def measure(value):
        assert value > 0.5
"""
FILES = {"exp_asserts": EXPERIMENT, "conftest": CONFTEST, "measuring": MEASURING}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return sessions.run(sessions.write(tmp_path_factory.mktemp("asserts"), **FILES))


def asserted(ended: Ended, name: str) -> list[dict[str, Any]]:
    return list(ended.record(name).get("assertions", []))


def test_asserts_that_are_met_are_recorded_with_source_and_values(ended: Ended) -> None:
    plain, long, third = asserted(ended, "exp_met")

    assert plain["source"] == "accuracy > 0.5"
    assert (plain["met"], plain["count"]) == (True, 1)
    assert plain["first"] == plain["last"] == "0.75 > 0.5"
    assert long["source"].split() == ["(", "accuracy", "<", "1", ")"]
    assert long["line"] == plain["line"] + 1
    assert long["last"] == "0.75 < 1"
    assert "café" in third["source"]


def test_a_handler_whose_asserts_are_met_passes(ended: Ended) -> None:
    assert "PASSED exp_asserts.py::exp_met" in ended.text
    assert ended.record("exp_met")["verdict"] == "pass"


def test_a_handler_without_asserts_has_no_verdict(ended: Ended) -> None:
    assert ended.record("exp_silent")["verdict"] == "not_evaluated"
    assert "PASSED exp_asserts.py::exp_silent" in ended.text


def test_a_loop_of_asserts_is_one_entry_with_its_count_first_and_last_value(ended: Ended) -> None:
    (entry,) = asserted(ended, "exp_loop")

    assert entry["count"] == 100_000
    assert entry["first"] == "0 >= 0"
    last = int(entry["last"].split()[0])  # not each evaluation is put into words
    assert 1000 <= last <= 99_999


def test_the_assert_that_fails_is_recorded_as_not_met_with_its_last_value(ended: Ended) -> None:
    (entry,) = asserted(ended, "exp_fails_late")

    assert (entry["met"], entry["count"]) == (False, 8)
    assert entry["first"] == "0 < 7"
    assert "diverged at 7" in entry["last"]
    assert "7 < 7" in entry["last"]


def test_metrics_logged_before_a_failing_assert_are_kept(ended: Ended) -> None:
    record = ended.record("exp_fails_late")

    assert (record["status"], record["verdict"]) == ("completed", "fail")
    assert record["metrics"] == {"loss": 3.0}


def test_asserts_behind_the_failing_one_are_not_recorded(ended: Ended) -> None:
    (entry,) = asserted(ended, "exp_never_reached")

    assert (entry["source"], entry["met"]) == ("1 + 1 == 3", False)


def test_an_assert_of_many_lines_is_recorded_whole(ended: Ended) -> None:
    (entry,) = asserted(ended, "exp_long")

    assert entry["source"].split() == ["(", "accuracy", ">", "0.5", ")"]


def test_an_assert_of_a_conftest_is_no_line_of_the_handler(ended: Ended) -> None:
    met, failed = sorted(asserted(ended, "exp_same_line"), key=lambda entry: not entry["met"])

    assert (met["source"], met["count"], failed["source"]) == ("above_half", 1, "value > 0.5")
    assert met["line"] == failed["line"]


@pytest.mark.parametrize(
    "name",
    [
        "exp_same_line",
        "exp_fails_late",
        "exp_own_function",
        "exp_raises_by_hand",
        "exp_fixture_of_a_conftest",
    ],
)
def test_an_assert_of_the_experiment_or_of_a_conftest_is_a_verdict(ended: Ended, name: str) -> None:
    record = ended.record(name)

    assert (record["status"], record["verdict"]) == ("completed", "fail")
    assert f"FAILED exp_asserts.py::{name} " in ended.text


@pytest.mark.parametrize("name", ["exp_numpy", "exp_other_module", "exp_unittest"])
def test_an_assert_of_a_library_or_another_module_is_a_crash(ended: Ended, name: str) -> None:
    record = ended.record(name)

    assert (record["status"], record["verdict"]) == ("failed", "not_evaluated")
    assert record["error_type"] == "AssertionError"
    assert f"ERROR exp_asserts.py::{name} " in ended.text
    assert f"FAILED exp_asserts.py::{name}" not in ended.text


def test_a_crash_keeps_what_was_logged(ended: Ended) -> None:
    assert ended.record("exp_numpy")["metrics"] == {"loss": 0.25}


def test_an_assert_that_the_handler_catches_itself_fails_nothing(ended: Ended) -> None:
    assert ended.record("exp_caught")["verdict"] == "pass"
    assert [entry["source"] for entry in asserted(ended, "exp_caught")] == ["2 == 2"]


def test_verdicts_and_crashes_are_counted_apart(ended: Ended) -> None:
    assert "7 failed, 4 passed, 3 errors" in ended.text
    assert ended.code == 1


SMALL = """
    def exp_small(runner):
        value = 0.75
        assert value > 0.5
"""
HOOK_ON = "[pytest]\nenable_assertion_pass_hook = true\n"
LISTENING = """
    def pytest_assertion_pass(item, lineno, orig, expl):
        with open("heard.txt", "a") as file:
            file.write(f"{item.name} {expl}\\n")
"""
BOTH = {"exp_small": SMALL, "test_plain": "def test_plain():\n    assert 1 < 2\n"}


@pytest.mark.parametrize("bytecode", ["written", "not written"])
def test_asserts_are_recorded_with_byte_code_of_an_earlier_session(
    tmp_path: Path, bytecode: str
) -> None:
    forbidden = "1" if bytecode == "not written" else None
    changes = {"PYTHONDONTWRITEBYTECODE": forbidden}
    sessions.write(tmp_path, **BOTH)
    plain = ("-o", "python_files=exp_*.py", "-o", "python_functions=exp_*")
    sessions.run(tmp_path, "-p", "no:gpuexp", *plain, changes=changes)

    ended = sessions.run(tmp_path, changes=changes)

    (entry,) = asserted(ended, "exp_small")
    assert entry["last"] == "0.75 > 0.5"


@pytest.mark.parametrize("backend", ["local", "in-process"])
def test_a_conftest_that_listens_to_asserts_hears_those_of_experiments(
    tmp_path: Path, backend: str
) -> None:
    sessions.write(tmp_path, **BOTH, conftest=LISTENING)
    (tmp_path / "tox.ini").write_text(HOOK_ON)

    ended = sessions.run(tmp_path, f"--backend={backend}")

    assert "exp_small 0.75 > 0.5" in (tmp_path / "heard.txt").read_text()
    assert "test_plain 1 < 2" in (tmp_path / "heard.txt").read_text()
    assert ended.record("exp_small")["verdict"] == "pass"


def test_ordinary_tests_pay_nothing_for_the_recording(tmp_path: Path) -> None:
    sessions.write(tmp_path, **BOTH, conftest=LISTENING)

    sessions.run(tmp_path)

    assert "test_plain" not in (tmp_path / "heard.txt").read_text()
