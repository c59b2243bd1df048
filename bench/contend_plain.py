"""Contender: parametrized tests under plain pytest, all in one process."""

from __future__ import annotations

from bench.pytest_files import ordinary_tests, pytest_command
from bench.task import Task


def command(task: Task) -> list[str]:
    """Return the command that runs the work as ordinary tests."""
    return pytest_command(task, [str(ordinary_tests(task))], plugins=())
