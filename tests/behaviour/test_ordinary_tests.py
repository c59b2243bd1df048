"""Ordinary tests in the same session, and projects with names of their own, are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.behaviour import sessions

CONFTEST = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--gpu", action="store_true", help="run tests that need a GPU")
    parser.addoption("--backend", default="jax", help="array backend of the tests")

@pytest.fixture
def runner():
    return "the project's own"
"""
ORDINARY = """
import unittest
import warnings

import pytest
from exp_mixed import exp_handler, shared


def test_runner(runner, pytestconfig):
    assert runner == "the project's own"
    assert pytestconfig.getoption("gpu") is True
    assert pytestconfig.getoption("backend") == "jax"


def exp_is_no_test_here():
    raise RuntimeError


@pytest.mark.parametrize("seed", [1, 2])
def test_parametrized(seed):
    assert seed


def test_failing():
    values = [1, 2]
    assert values == [1, 3]


def test_returning():
    return {"metrics": {}}


class TestClass:
    def test_method(self, tmp_path):
        assert shared() == 3


class Case(unittest.TestCase):
    def test_case(self):
        self.assertTrue(True)


def test_warning():
    warnings.warn("as ever")
"""
MIXED = """
from pytest_gpuexp import grid, seeds

def shared():
    return 3

@grid(lr=[0.1, 0.2])
def exp_handler(runner, lr):
    assert runner.config == {"lr": lr, "seed": 0}

def test_is_no_handler():
    raise RuntimeError
"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> sessions.Ended:
    folder = sessions.write(
        tmp_path_factory.mktemp("mixed"),
        conftest=CONFTEST,
        test_ordinary=ORDINARY,
        exp_mixed=MIXED,
    )
    return sessions.run(folder, "--gpu", "--junitxml=junit.xml")


def test_ordinary_tests_pass_and_fail_as_ever(mixed: sessions.Ended) -> None:
    assert mixed.code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 9 passed, 2 warnings" in mixed.text
    assert "E       assert [1, 2] == [1, 3]" in mixed.text
    assert "PytestReturnNotNoneWarning: Test functions should return None" in mixed.text
    assert "UserWarning: as ever" in mixed.text


def test_experiments_run_beside_them(mixed: sessions.Ended) -> None:
    assert mixed.record("exp_handler[lr:0.1]")["verdict"] == "pass"
    assert mixed.record("exp_handler[lr:0.2]")["verdict"] == "pass"


def test_a_runner_fixture_of_the_project_stays_the_one_of_its_tests(mixed: sessions.Ended) -> None:
    assert "PASSED test_ordinary.py::test_runner" in mixed.text


def test_options_that_the_project_has_are_named_as_taken(mixed: sessions.Ended) -> None:
    assert "taken by others --backend --gpu" in mixed.text


def test_the_report_for_machines_holds_both(mixed: sessions.Ended) -> None:
    junit = (mixed.folder / "junit.xml").read_text()

    assert 'tests="10"' in junit
    assert 'name="test_failing"' in junit
    assert 'name="exp_handler[lr:0.1]"' in junit


def test_a_taken_option_still_has_its_long_name(mixed: sessions.Ended) -> None:
    ended = sessions.run(
        mixed.folder, "--collect-only", "-q", "--gpuexp-backend=in-process", "exp_mixed.py"
    )
    shown = sessions.run(mixed.folder, "--collect-only", "--gpuexp-backend=in-process")

    assert ended.code == 0, ended.text
    assert "backend in-process" in shown.text


def test_experiments_are_not_imported_where_only_a_neighbour_is_asked_for(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a="raise RuntimeError('imported')\n",
        test_a="def test_a():\n    pass\n",
    )

    ended = sessions.run(tmp_path, "test_a.py")

    assert ended.code == 0, ended.text
    assert "1 passed" in ended.text
    assert "backend" not in ended.text


def test_python_functions_and_python_files_may_name_ours(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        tox="""
            [pytest]
            python_files = test_*.py exp_*.py
            python_functions = test_* exp_*
            python_classes = Test* Exp*
            """,
        exp_a="""
            def exp_a(runner):
                assert True

            class ExpSettings:
                def exp(self): ...
            """,
    )

    ended = sessions.run(tmp_path)

    assert ended.code == 0, ended.text
    assert "1 passed" in ended.text
    assert len(ended.record_files()) == 1


def test_the_helps_show_what_is_ours(tmp_path: Path) -> None:
    shown = sessions.run(tmp_path, "--help").text
    markers = sessions.run(tmp_path, "--markers").text

    assert "experiments as tests (pytest-gpuexp):" in shown
    for option in ("--backend=", "--gpuexp-backend=", "--stub-mode", "--sweep=", "--run-timeout="):
        assert option in shown
    assert "gpuexp_files (args):" in shown
    assert "@pytest.mark.gpuexp_grid: grid(name=[...], exclude=, only=):" in markers


def test_strict_markers_know_ours(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a="""
            import pytest
            from pytest_gpuexp import cases, experiment, paired, tier

            pytestmark = experiment("c1")

            @tier(timeout="1m")
            @cases([{"lr": 1}])
            @pytest.mark.gpuexp_grid(width=[1, 2])
            @pytest.mark.gpuexp_seeds(2)
            def exp_a(runner):
                assert True
            """,
    )

    ended = sessions.run(tmp_path, "--strict-markers", "-W", "error")

    assert ended.code == 0, ended.text
    assert "4 passed" in ended.text


def test_the_plugin_can_be_left_out(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_a="raise RuntimeError\n", test_a="def test_a():\n    pass\n")

    ended = sessions.run(tmp_path, "-p", "no:gpuexp", changes=sessions.EVERYBODY)

    assert ended.code == 0, ended.text
    assert "1 passed" in ended.text
