"""Contender: the limit for who keeps pytest: its protocol in a fork a test, and nothing else."""

from __future__ import annotations

from bench.pytest_files import HERE, ordinary_tests, pytest_command
from bench.task import Task


def command(task: Task) -> list[str]:
    """Return the command that forks for each of the work's ordinary tests."""
    tests = ordinary_tests(task)
    conftest = (HERE / "forked_items.py").read_text(encoding="utf-8")
    (tests / "conftest.py").write_text(conftest, encoding="utf-8")
    return pytest_command(task, [str(tests)], plugins=())
