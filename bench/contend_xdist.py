"""Contender: parametrized tests shared out over two pytest-xdist workers."""

from __future__ import annotations

from bench.pytest_files import ordinary_tests, pytest_command
from bench.task import Task


def command(task: Task) -> list[str]:
    """Return the command that runs the work as ordinary tests in two workers."""
    return pytest_command(task, ["-n", "2", str(ordinary_tests(task))], plugins=("xdist",))
