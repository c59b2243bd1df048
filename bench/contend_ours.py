"""Contender: this plugin, a process a run, with report, metrics and records on disk."""

from __future__ import annotations

from bench.pytest_files import experiments, pytest_command
from bench.task import Task


def options(task: Task) -> list[str]:
    """Return the options that this plugin is measured with."""
    return ["--parallelism", "2", "--storage", str(task.folder / "results")]


def command(task: Task) -> list[str]:
    """Return the command that runs the work as an experiment."""
    arguments = [str(experiments(task)), *options(task)]
    return pytest_command(task, arguments, plugins=("gpuexp",))
