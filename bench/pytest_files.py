"""The files that the pytest contenders run, and the command line that they share."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from bench.task import Task

HERE = Path(__file__).parent

ORDINARY = """

import pytest


@pytest.mark.parametrize("seed", range({runs}))
def test_{work}(seed):
    work(seed)
    assert seed >= 0
"""

EXPERIMENT = """

from pytest_gpuexp import experiment, seeds

pytestmark = experiment("bench")


@seeds({runs})
def exp_{work}(runner, seed):
    x = work(seed)
    assert seed >= 0
    return {{"metrics": {{"x": x}}}}
"""


def ordinary_tests(task: Task) -> Path:
    """Write the work as parametrized tests, and return their folder."""
    return _write(task, task.folder / "tests" / "test_bench.py", ORDINARY)


def experiments(task: Task) -> Path:
    """Write the work as an experiment of as many seeds, and return its folder."""
    return _write(task, task.folder / "experiments" / "exp_bench.py", EXPERIMENT)


def pytest_command(task: Task, arguments: Sequence[str], *, plugins: Collection[str]) -> list[str]:
    """Return the command that runs pytest with none of the installed plugins but ``plugins``.

    Other plugins that happen to be installed are switched off for every contender alike: they
    would make plain pytest slower, and us look better. ``witness.py`` notes the peak memory.
    """
    blocked = {entry.name for entry in entry_points(group="pytest11")} - set(plugins)
    without = [part for name in sorted(blocked) for part in ("-p", f"no:{name}")]
    if task.work == "collect":
        without.append("--collect-only")
    witness = [sys.executable, "-P", str(HERE / "witness.py"), str(task.folder / "witness.json")]
    return [*witness, "-q", "-p", "no:cacheprovider", *without, *arguments]


def _write(task: Task, path: Path, template: str) -> Path:
    # An ini file of its own, so that no pytest.ini further up is found and obeyed.
    (task.folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    path.parent.mkdir()
    body = (HERE / f"{task.body_module().rpartition('.')[2]}.py").read_text(encoding="utf-8")
    text = body + template.format(runs=task.runs, work=task.work)
    path.write_text(text, encoding="utf-8")
    return path.parent
