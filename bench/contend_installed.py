"""Contender: the ordinary tests of plain pytest, with pytest-gpuexp installed but not used."""

from __future__ import annotations

from bench.pytest_files import ordinary_tests, pytest_command
from bench.task import Task


def command(task: Task) -> list[str]:
    """Return plain pytest's command with this plugin left on."""
    return pytest_command(task, [str(ordinary_tests(task))], plugins=("gpuexp",))
