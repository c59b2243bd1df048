"""Contender: `concurrent.futures` over a forkserver, two workers, a fresh process a run."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from bench.task import from_command_line


def main() -> None:
    """Do all runs; the module of the work, torch with it, is preloaded in the server."""
    task = from_command_line()
    context = multiprocessing.get_context("forkserver")
    # Every child imports this script again; what it needs is then there already.
    context.set_forkserver_preload(["concurrent.futures.process", task.body_module()])
    work = task.body()
    with ProcessPoolExecutor(2, mp_context=context, max_tasks_per_child=1) as pool:
        answers = list(pool.map(work, range(task.runs)))
    if len(answers) != task.runs:
        raise SystemExit("a run was lost")


if __name__ == "__main__":
    main()
