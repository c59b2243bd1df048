"""The session's own process: for debuggers, ``-s`` and ``--pdb``; runs share what they leave."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from pytest_gpuexp.records import Attempt, Job, Outcome


class InProcessBackend:
    """Executes each attempt when it is submitted, one after the other.

    There is no isolation and no timeout: a crash ends the session, and fixtures of wider scope
    live on from run to run.
    """

    name = "in-process"
    lookahead = 0
    handle = ""

    def __init__(self, execute: Callable[[Attempt], Outcome]) -> None:
        """Run attempts by ``execute``, which commits their records."""
        self._execute = execute
        self._finished: dict[str, Outcome] = {}

    def submit(self, attempt: Attempt) -> Job:
        """Execute ``attempt`` before returning."""
        self._finished[attempt.key] = self._execute(attempt)
        return Job(key=attempt.key, backend=self.name, handle="")

    def poll(self, jobs: Collection[Job], *, timeout: float) -> dict[Job, Outcome]:
        """Return what was executed; nothing is waited for."""
        return {job: self._finished.pop(job.key) for job in jobs if job.key in self._finished}

    def handles(self) -> Mapping[str, str]:
        """Return nothing: what ran here cannot be found again."""
        return {}

    def running(self) -> Mapping[str, float]:
        """Return nothing: while an attempt executes, nobody can ask."""
        return {}

    def cancel(self, jobs: Collection[Job]) -> None:
        """Do nothing: whatever was submitted has ended."""

    def close(self) -> None:
        """Do nothing: there is nothing to let go."""
