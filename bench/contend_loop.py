"""Contender: a bare loop in one process; its marginal time is the work itself."""

from __future__ import annotations

from bench.task import from_command_line

if __name__ == "__main__":
    task = from_command_line()
    work = task.body()
    for seed in range(task.runs):
        work(seed)
