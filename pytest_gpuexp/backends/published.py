"""A backend whose outcomes come when they are published."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from pytest_gpuexp import recording
from pytest_gpuexp.backends.carrying import Carrying
from pytest_gpuexp.checkpoint_transfers import Uploads
from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.protocols import Backend, outlives_session, seconds_to_end
from pytest_gpuexp.publishing import THREADS, Publisher
from pytest_gpuexp.records import Attempt, ExperimentResult, Job, Outcome

_UPLOADS = 4
_SHORT_SECONDS = 0.02
_LEAVING_SECONDS = 4.0  # for what is being published where a session is cancelled, or
_EARLIER_SECONDS = 0.5  # so much less than it waits


class PublishedBackend:
    """Lets another backend run attempts, and publishes each while the next ones run.

    An outcome that cannot be published comes as it is, marked so.
    """

    def __init__(
        self,
        backend: Backend,
        publisher: Publisher,
        *,
        lose: Callable[[], None],
        tell: Callable[[str], object],
    ) -> None:
        """Run by ``backend``, publish by ``publisher`` in a few threads.

        ``lose`` is called where the session is cancelled: nothing should wait for a storage then.
        ``tell`` gets what the user should know.
        """
        self._lose = lose
        self._backend = backend
        self._publisher = publisher
        self._pool = Carrying(THREADS, name="gpuexp-publish")
        self._publishing: dict[Job, tuple[Outcome, Future[str]]] = {}
        self._fetching: dict[Job, tuple[Attempt, Future[str]]] = {}
        self._few = Carrying(_UPLOADS, name="gpuexp-checkpoint")
        self._uploads = Uploads(publisher.checkpoints, self._few, tell=tell)
        self._leave_at: float | None = None
        self.name = backend.name
        self.handle = backend.handle
        self.cancel_seconds = seconds_to_end(backend)
        self.outlives_session = outlives_session(backend)

    @property
    def lookahead(self) -> int:
        """How many attempts to hold beyond those that execute: also those that are published.

        What is being published keeps no run from starting, and no run is claimed long before.
        """
        ahead = self._backend.lookahead
        return ahead + min(len(self._publishing), THREADS) if ahead else 0

    def submit(self, attempt: Attempt) -> Job:
        """Hand ``attempt`` on, after what it goes on from was fetched."""
        if not attempt.restores:
            return self._hand_on(attempt)
        job = Job(key=attempt.key, backend=self.name, handle="")
        self._fetching[job] = (attempt, self._pool.submit(self._fetch, attempt))
        return job

    def saved(self, attempt: Attempt, name: str) -> None:
        """Publish the checkpoint ``name`` while ``attempt`` goes on."""
        self._uploads.offer(attempt, name)

    def poll(self, jobs: Collection[Job], *, timeout: float) -> dict[Job, Outcome]:
        """Return what has ended and is published, or cannot be."""
        done = self._fetched()
        others = {**self._publishing, **self._fetching}
        running = [job for job in jobs if job not in others and job not in done]
        if running:
            patience = min(timeout, _SHORT_SECONDS) if others else timeout
            for job, outcome in self._backend.poll(running, timeout=patience).items():
                if outcome.result.started_at and outcome.result.published:
                    name = recording.record_name(outcome.result)
                    future = self._pool.submit(self._publisher.attempt, name, outcome.result)
                    self._publishing[job] = (outcome, future)
                else:
                    done[job] = outcome  # it never began, or left no record
        elif others and not done:
            futures = [future for _, future in others.values()]
            wait(futures, timeout=timeout, return_when=FIRST_COMPLETED)
        return {**done, **self._published()}

    def handles(self) -> Mapping[str, str]:
        """Return what the other backend has learned."""
        return self._backend.handles()

    def running(self) -> Mapping[str, float]:
        """Return the keys of the attempts that execute right now, with their ages in seconds."""
        return self._backend.running()

    def cancel(self, jobs: Collection[Job]) -> None:
        """End those of ``jobs`` that run, and give what is being published a moment."""
        self._lose()
        self._leave_at = time.monotonic() + min(
            _LEAVING_SECONDS, self.cancel_seconds - _EARLIER_SECONDS
        )
        others = {*self._publishing, *self._fetching}
        self._backend.cancel([job for job in jobs if job not in others])

    def close(self) -> None:
        """Let the other backend go, start no more publishing, and wait for what is under way.

        A cancelled session waits no longer than it does for its runs: the spool has all of it.
        """
        self._backend.close()
        for pool in (self._pool, self._few):
            leave_at, now = self._leave_at, time.monotonic()
            pool.close(seconds=None if leave_at is None else max(0.0, leave_at - now))

    def _hand_on(self, attempt: Attempt) -> Job:
        job = self._backend.submit(attempt)
        self.handle = self._backend.handle
        return job

    def _fetch(self, attempt: Attempt) -> str:
        """Fetch what ``attempt`` goes on from; return why that cannot be, "" where it is here."""
        try:
            self._publisher.checkpoints.fetch(attempt)
        except (GpuexpError, OSError, ValueError, TypeError) as error:
            return f"its checkpoint cannot be fetched, so it was not begun: {error}"
        return ""

    def _fetched(self) -> dict[Job, Outcome]:
        """Hand on what has been fetched; return how those end that will not be."""
        done: dict[Job, Outcome] = {}
        for job, (attempt, future) in list(self._fetching.items()):
            if self._leave_at is None and not future.done():
                continue
            del self._fetching[job]
            reason = "never started" if self._leave_at is not None else future.result()
            if reason:
                done[job] = Outcome(result=_never_begun(attempt, reason))
            else:
                self._hand_on(attempt)
        return done

    def _published(self) -> dict[Job, Outcome]:
        leaving = self._leave_at is not None and time.monotonic() > self._leave_at
        done: dict[Job, Outcome] = {}
        for job, (outcome, future) in list(self._publishing.items()):
            if not (future.done() or leaving):
                continue
            del self._publishing[job]
            reason = _reason(future)
            done[job] = dataclasses.replace(outcome, result=_marked(outcome.result, reason))
        return done


def _never_begun(attempt: Attempt, reason: str) -> ExperimentResult:
    return recording.result_without_worker(
        attempt,
        folder=Path(),
        status="cancelled",
        error_type="Cancelled",
        error_message=reason,
        started=0.0,
        devices=(),
    )


def _reason(future: Future[str]) -> str:
    """Return why the attempt of ``future`` is not published, "" where it is."""
    if not future.done():
        return "the session was interrupted"
    return future.result()


def _marked(result: ExperimentResult, reason: str) -> ExperimentResult:
    if not reason:
        return result
    told = f"{result.error_message or ''} [not published yet: {reason}]".strip()
    return dataclasses.replace(result, published=False, error_message=told)
