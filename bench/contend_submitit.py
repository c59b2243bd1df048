"""Contender: submitit's local executor, two jobs at a time, an interpreter a job."""

from __future__ import annotations

import time

import submitit

from bench.task import from_command_line


def main() -> None:
    """Submit all runs, two in flight, and wait for every result."""
    task = from_command_line()
    work = task.body()
    executor = submitit.LocalExecutor(folder=task.folder / "submitit")
    executor.update_parameters(timeout_min=5)
    # Two at a time: the local executor starts whatever it is given at once.
    running: list[submitit.Job[float]] = []
    for seed in range(task.runs):
        while len(running) == 2:
            time.sleep(0.005)
            for job in [job for job in running if job.done(force_check=True)]:
                job.result()
                running.remove(job)
        running.append(executor.submit(work, seed))
    for job in running:
        job.result()


if __name__ == "__main__":
    main()
