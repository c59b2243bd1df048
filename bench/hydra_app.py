"""The application that both Hydra contenders sweep over seeds."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from bench.task import Task, Work, from_command_line


@hydra.main(config_path=None, config_name=None, version_base="1.3")
def run(config: DictConfig) -> float:
    """Do one run, the seed and the kind of work from the composed config."""
    work: Work = config.work
    return Task(work=work, runs=1, folder=config.folder).body()(config.seed)


def sweep(launcher: Sequence[str]) -> None:
    """Run the task of this process as a multirun, with the overrides that choose a launcher."""
    task = from_command_line()
    overrides = [
        f"+work={task.work}",
        f"+folder={task.folder}",
        f"+seed=range({task.runs})",
        f"hydra.sweep.dir={task.folder / 'multirun'}",
    ]
    sys.argv[1:] = ["--multirun", *overrides, *launcher]
    run()
