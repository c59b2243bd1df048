"""What a backend, a storage, a tracker and a display must offer, whoever wrote them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pytest_gpuexp.conclusions import ExperimentReport
from pytest_gpuexp.records import Attempt, Job, Outcome, RunSpec

_CANCEL_SECONDS = 6.0  # a process gets its grace of five, and is killed


class Backend(Protocol):
    """A place where attempts are executed."""

    name: str

    @property
    def lookahead(self) -> int:
        """How many attempts it wants to hold now beyond those that execute, to start at once."""
        ...

    handle: str
    """What finds its attempts again and is known before they are submitted; "" where nothing is."""

    def submit(self, attempt: Attempt) -> Job:
        """Take ``attempt`` and return at once; its outcome comes by ``poll``.

        The job's handle is kept in place of the backend's, or is "" where that one says it all or
        a better one comes by ``handles``.

        Raises:
            BackendUnavailable: the backend takes no more runs in this session.
        """
        ...

    def poll(self, jobs: Collection[Job], *, timeout: float) -> dict[Job, Outcome]:
        """Return the outcomes of those ``jobs`` that have ended, each job once.

        Waits up to ``timeout`` seconds for the first; an empty dict says that none has ended.
        """
        ...

    def handles(self) -> Mapping[str, str]:
        """Return the handles that have become known since the last call, by attempt key.

        Each is kept in place of the one before it; {} where ``handle`` says it all.
        """
        ...

    def running(self) -> Mapping[str, float]:
        """Return the keys of the attempts that execute right now, with their ages in seconds."""
        ...

    def cancel(self, jobs: Collection[Job]) -> None:
        """Ask for the end of ``jobs``; their outcomes still come by ``poll``, as ``cancelled``."""
        ...

    def close(self) -> None:
        """Let go of everything that the backend holds; nothing runs any more."""
        ...


def seconds_to_end(backend: Backend) -> float:
    """Return how long what is cancelled may take to end: its ``cancel_seconds``, if it says any."""
    return float(getattr(backend, "cancel_seconds", _CANCEL_SECONDS))


def outlives_session(backend: Backend | None) -> bool:
    """Return whether what ``backend`` could not end may go on: its ``outlives_session``, if any."""
    return bool(getattr(backend, "outlives_session", False))


class Storage(Protocol):
    """A place where files are kept under "/"-separated names; a folder or a bucket."""

    url: str

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Put ``data`` under ``name`` whole, replacing what was there; never half of it.

        Where not ``durable`` it survives a kill, but perhaps not a loss of power.
        """
        ...

    def write_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        """Put ``data`` under ``name`` unless it is taken; return whether this call wrote it."""
        ...

    def read(self, name: str) -> bytes:
        """Return what is under ``name``.

        Raises:
            FileNotFoundError: there is nothing under ``name``.
        """
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names directly below the folder ``prefix``, in no order; "" is the root."""
        ...

    def exists(self, name: str) -> bool:
        """Return whether there is something under ``name``."""
        ...

    def delete(self, name: str) -> None:
        """Remove what is under ``name``; nothing happens where there is nothing."""
        ...

    def upload_file(self, path: Path, name: str) -> None:
        """Put the bytes of the local file ``path`` under ``name``, whole."""
        ...

    def download_file(self, name: str, path: Path) -> None:
        """Put what is under ``name`` into the local file ``path``, whole.

        Raises:
            FileNotFoundError: there is nothing under ``name``.
        """
        ...


class Tracker(Protocol):
    """A service that shows metrics as they come (W&B and its like); lives in the worker."""

    def start(self, attempt: Attempt) -> None:
        """Open a track for ``attempt``."""
        ...

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Show ``metrics`` at ``step``; must never raise for the service's sake."""
        ...

    def finish(self, outcome: Outcome) -> None:
        """Close the track with how the attempt ended."""
        ...


class Display(Protocol):
    """The eyes of a session; the one room that writes to the terminal."""

    @property
    def shows_runs(self) -> bool:
        """Whether each run gets a line of its own; else pytest shows its letters."""
        ...

    def notice(self, text: str) -> None:
        """Show one line that the user should not miss."""
        ...

    def plan_made(
        self,
        plan: Mapping[str, Sequence[RunSpec]],
        *,
        facts: Mapping[str, str],
        resumption: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Show what will run, grouped by experiment, before the first run.

        ``facts`` are label -> text for the header: backend, parallelism, GPUs, storage;
        ``resumption`` is what becomes of each run in a session that resumes: name, reason.
        """
        ...

    def progress(
        self,
        *,
        done: int,
        total: int,
        running: Mapping[str, float],
        counts: Mapping[str, int],
        said: Callable[[str], str],
    ) -> None:
        """Refresh the live region; called a few times a second while runs are in flight.

        ``running`` gives the item names that execute now with their age in seconds; ``counts``
        how many attempts have ended in each way, as ``passed``, ``failed``, ``timeout``. ``said``
        tells what the run of a name has said last, and is to be asked of few.
        """
        ...

    def run_finished(self, outcome: Outcome, *, done: int, total: int) -> None:
        """Show one line for a run that has ended."""
        ...

    def withdraw(self) -> None:
        """Take the live region off the screen, so that others can write."""
        ...

    def session_finished(
        self, reports: Sequence[ExperimentReport], *, places: Mapping[str, str]
    ) -> None:
        """Show the closing table; ``places`` gives each experiment's results file."""
        ...
