"""Keeps a bounded number of attempts in a backend's hands until all have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from pytest_gpuexp.protocols import Backend
from pytest_gpuexp.records import Attempt, Job, Outcome

_CANCEL_ROUND_SECONDS = 0.1


class Dispatch:
    """One session's way of a list of attempts through a backend.

    ``flying`` are the attempts in the backend's hands, by job, and ``told`` the keys of those whose
    handles were told after their submit.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        parallelism: int,
        on_handle: Callable[[Attempt, str], None],
        poll_seconds: float = 0.2,
        cancel_seconds: float = 6.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold at most ``parallelism`` attempts, and what the backend wants ahead, in flight.

        Those that are cancelled have ``cancel_seconds`` to end.
        ``on_handle`` learns what finds an attempt again, as soon as the backend knows.
        """
        self._backend = backend
        self._parallelism = parallelism
        self._on_handle = on_handle
        self._poll_seconds = poll_seconds
        self._cancel_seconds = cancel_seconds
        self._clock = clock
        self.flying: dict[Job, Attempt] = {}
        self.told: set[str] = set()

    def run(self, attempts: Iterable[Attempt]) -> Iterator[Sequence[tuple[Attempt, Outcome]]]:
        """Submit ``attempts`` in order, and yield what has ended; empty now and then, as a tick.

        An attempt is drawn from ``attempts`` when its turn has come, so a lazy one claims late.
        """
        waiting = iter(attempts)
        exhausted = False
        while True:
            while not exhausted and len(self.flying) < self._most():
                attempt = next(waiting, None)
                if attempt is None:
                    exhausted = True
                    break
                self.submit(attempt)
            if not self.flying:
                return
            yield self.collect(self._poll_seconds)

    def submit(self, attempt: Attempt) -> None:
        """Hand ``attempt`` to the backend now: it takes the place of one that has just ended."""
        job = self._backend.submit(attempt)
        self.flying[job] = attempt
        if job.handle:
            self._on_handle(attempt, job.handle)

    def adopt(self, attempt: Attempt, job: Job) -> None:
        """Hold ``attempt``, which the backend has already, beside those that are submitted."""
        self.flying[job] = attempt

    def learn(self) -> list[str]:
        """Tell of the handles that have become known, and return their attempts' keys."""
        handles = self._backend.handles()
        told = [one for one in self.flying.values() if one.key in handles] if handles else []
        for attempt in told:
            self._on_handle(attempt, handles[attempt.key])
            self.told.add(attempt.key)
        return [attempt.key for attempt in told]

    def _most(self) -> int:
        return self._parallelism + self._backend.lookahead

    def cancel(self) -> list[tuple[Attempt, Outcome]]:
        """End what is in flight, and return how each attempt ended that has ended in time."""
        self._backend.cancel(list(self.flying))
        ended: list[tuple[Attempt, Outcome]] = []
        give_up_at = self._clock() + self._cancel_seconds
        while self.flying and self._clock() < give_up_at:
            ended += self.collect(_CANCEL_ROUND_SECONDS)
        return ended

    def collect(self, seconds: float) -> list[tuple[Attempt, Outcome]]:
        """Return what has ended, waiting ``seconds`` for the first."""
        finished = self._backend.poll(self.flying.keys(), timeout=seconds)
        self.learn()
        return [(self.flying.pop(job), outcome) for job, outcome in finished.items()]
