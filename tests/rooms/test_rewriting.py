"""How experiment modules are imported: with every passed assertion told."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from pytest_gpuexp.assertion_log import CURRENT
from pytest_gpuexp.rewriting import ExperimentFinder, assertion_source


@pytest.fixture
def finder(
    pytestconfig: pytest.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ExperimentFinder]:
    """Give a finder that is installed, with ``tmp_path`` to import from."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    finder = ExperimentFinder(pytestconfig, lambda path: fnmatchcase(path.name, "exp_*.py"))
    finder.install()
    CURRENT.clear()

    yield finder

    finder.remove()
    CURRENT.clear()
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.usefixtures("finder")
def test_a_passed_assert_of_an_experiment_is_counted(tmp_path: Path) -> None:
    (tmp_path / "exp_counted.py").write_text(
        "def handler():\n    for i in range(3):\n        assert i < 3\n"
    )

    importlib.import_module("exp_counted").handler()

    (entry,) = CURRENT.entries()
    assert (entry.line, entry.count, entry.met) == (3, 3, True)


@pytest.mark.usefixtures("finder")
def test_a_failing_assert_shows_its_values(tmp_path: Path) -> None:
    (tmp_path / "exp_failing.py").write_text("def handler(value):\n    assert value < 3\n")

    with pytest.raises(AssertionError, match="assert 5 < 3"):
        importlib.import_module("exp_failing").handler(5)


@pytest.mark.usefixtures("finder")
def test_an_if_of_the_experiment_stays_as_it_is(tmp_path: Path) -> None:
    source = "def handler(value):\n    if value:\n        return 1\n    return 2\n"
    (tmp_path / "exp_branching.py").write_text(source)

    handler = importlib.import_module("exp_branching").handler

    assert (handler(True), handler(False)) == (1, 2)
    assert CURRENT.entries() == ()


@pytest.mark.usefixtures("finder")
def test_no_byte_code_of_an_experiment_is_written(tmp_path: Path) -> None:
    (tmp_path / "exp_cached.py").write_text("X = 1\n")

    importlib.import_module("exp_cached")

    assert list(tmp_path.rglob("*.pyc")) == []


def test_other_modules_are_left_to_python(finder: ExperimentFinder, tmp_path: Path) -> None:
    (tmp_path / "ordinary.py").write_text("def check():\n    assert 1 < 2\n")

    importlib.import_module("ordinary").check()

    assert finder.find_spec("ordinary", None) is None
    assert CURRENT.entries() == ()


def test_a_finder_that_is_removed_finds_nothing_more(finder: ExperimentFinder) -> None:
    finder.install()  # a second time changes nothing
    finder.remove()

    assert finder not in sys.meta_path


@pytest.mark.parametrize(
    ("lineno", "source"),
    [(1, "1 < 2"), (2, "(\n    3\n    < 4\n)"), (6, ""), (7, "x # why"), (99, "")],
)
def test_the_condition_of_an_assert_is_read_as_it_is_written(
    tmp_path: Path, lineno: int, source: str
) -> None:
    file = tmp_path / "asserts.py"
    file.write_text('assert 1 < 2, "words"\nassert (\n    3\n    < 4\n)\nx = 1\nassert x # why\n')

    assert assertion_source(file, lineno) == source


def test_a_file_that_is_gone_has_no_conditions(tmp_path: Path) -> None:
    assert assertion_source(tmp_path / "gone.py", 1) == ""
