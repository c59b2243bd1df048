"""This machine: one isolated process a run, children of a snapshot."""

from __future__ import annotations

import select
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gpuexp import processes, recording, transport
from pytest_gpuexp.errors import BackendUnavailable, RecordInvalid
from pytest_gpuexp.forerunner import THREADS, Forerunner, start_worker
from pytest_gpuexp.records import Attempt, ExperimentResult, Job, Outcome, Status
from pytest_gpuexp.storage.local import LocalStorage
from pytest_gpuexp.wire import Message

_CLOSE_SECONDS = 10.0
_WRITING_SECONDS = 60.0  # a sum over artifacts of many gigabytes takes its time


class LocalBackend:
    """Runs attempts in a snapshot of this project, which outlives a killed controller.

    ``notices`` collects what the user should be told once, as why runs are not forked.
    """

    name = "local"

    def __init__(
        self,
        *,
        greeting: Mapping[str, Any],
        storage: LocalStorage,
        environ: Mapping[str, str],
        gpus: Sequence[str],
        cores: int,
        parallelism: int,
        on_checkpoint: Callable[[Attempt, str], None] = lambda attempt, name: None,
        forerunner: Forerunner | None = None,
    ) -> None:
        """Start the snapshot at once: it imports the experiments while the session collects them.

        ``greeting`` tells it how to be this session's pytest. ``on_checkpoint`` gets the name of
        each checkpoint that an attempt has saved. ``forerunner`` may have its process already.
        """
        self._forerunner = forerunner
        self._greeting = {**greeting, "one_shot": False}
        self._storage = storage
        self._on_checkpoint = on_checkpoint
        self._environ = dict(environ)
        self._gpus = tuple(gpus)
        self._threads = max(1, cores // parallelism)
        self.lookahead = parallelism
        self.notices: list[str] = []
        self._paths: list[str] = []
        self._tasks: dict[str, tuple[Attempt, Job]] = {}
        self._running: dict[str, tuple[tuple[str, ...], int, float]] = {}
        self._cancelled: set[str] = set()
        self._worked = False
        self._start()

    def _start(self) -> None:
        ahead = self._forerunner.take(self._environ) if self._forerunner is not None else None
        worker = ahead or start_worker(self._environ)
        self._process, self._channel, self._output = worker.process, worker.channel, worker.output
        self._lives = True
        self._channel.send_hearing(self._greeting)
        self.handle = f"{self._process.pid}:{processes.start_time(self._process.pid)}"
        for path in self._paths:
            self._channel.send_hearing({"op": "collect", "path": path})

    def collect(self, path: Path) -> None:
        """Have the snapshot import the experiment ``path``."""
        self._paths.append(str(path))
        self._channel.send_hearing({"op": "collect", "path": str(path)})

    def prepare(self, provenance: bytes) -> None:
        """Give the snapshot what ends every record; to be called before the first ``submit``."""
        self._greeting["provenance"] = provenance.decode()
        self._channel.send_hearing({"op": "provenance", "text": provenance.decode()})

    def submit(self, attempt: Attempt) -> Job:
        """Queue ``attempt`` in the snapshot."""
        if not self._lives:
            self._start()
        job = Job(key=attempt.key, backend=self.name, handle="")
        self._tasks[attempt.key] = (attempt, job)
        self._send(attempt)
        return job

    def _send(self, attempt: Attempt) -> None:
        folder = self._storage.path(recording.run_folder(attempt))
        self._channel.send_hearing(
            {
                "op": "run",
                "job": attempt.key,
                "attempt": transport.attempt_to_plain(attempt),
                "folder": str(folder),
                "log": str(folder / "log.txt"),
                "gpus": self._wanted(attempt),
                "hide_gpus": bool(self._gpus),
                "threads": self._threads,
                "environment": self._run_environment(attempt),
            }
        )

    def poll(self, jobs: Collection[Job], *, timeout: float) -> dict[Job, Outcome]:
        """Return what has ended, waiting up to ``timeout`` seconds for the first."""
        finished: dict[Job, Outcome] = {}
        messages = list(self._channel.pending())
        if not messages and select.select([self._channel], [], [], timeout)[0]:
            messages = list(self._channel.receive())
        for message in messages:
            self._take(message, finished)
        if self._channel.closed:
            self._lose(finished)
        return finished

    def handles(self) -> Mapping[str, str]:
        """Return nothing: the snapshot's handle finds all of its runs."""
        return {}

    def running(self) -> Mapping[str, float]:
        """Return the keys of the attempts that execute right now, with their ages in seconds."""
        now = time.monotonic()
        return {key: now - started for key, (_, _, started) in self._running.items()}

    def cancel(self, jobs: Collection[Job]) -> None:
        """End ``jobs``: those that run get SIGTERM, and SIGKILL after their grace."""
        self._cancelled = {job.key for job in jobs}
        self._channel.send_hearing({"op": "cancel", "jobs": sorted(self._cancelled)})

    def close(self) -> None:
        """End the snapshot."""
        self._channel.send_hearing({"op": "close"})
        self._channel.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _wanted(self, attempt: Attempt) -> int:
        if not self._gpus:
            return 0
        return 1 if attempt.spec.gpus is None else attempt.spec.gpus

    def _run_environment(self, attempt: Attempt) -> dict[str, str]:
        threads = {name: self._environ.get(name, str(self._threads)) for name in THREADS}
        return {**threads, "PYTEST_GPUEXP_RUN": attempt.key}

    def _take(self, message: Message, finished: dict[Job, Outcome]) -> None:
        if "started" in message:
            key = message["started"]
            self._worked = True
            self._running[key] = (tuple(message["devices"]), message["pid"], time.monotonic())
        elif "hazard" in message:
            self.notices.append(_notice(message))
        elif "told" in message:
            self._hear(message["job"], message["told"])
        elif "withdrawn" in message:
            self._withdraw(message["withdrawn"], finished)
        else:
            self._running.pop(message["done"], None)
            attempt, job = self._tasks.pop(message["done"])
            try:
                finished[job] = transport.outcome_from_plain(message["outcome"], attempt)
            # One run's reply must not end the others.
            except (RecordInvalid, LookupError, TypeError) as error:
                result = self._ended(attempt, "failed", str(error), time.time())
                finished[job] = Outcome(result=result)

    def _hear(self, key: str, told: Message) -> None:
        if "notice" in told:
            self.notices.append(told["notice"])
        elif key in self._tasks:
            self._on_checkpoint(self._tasks[key][0], told["checkpoint"])

    def _lose(self, finished: dict[Job, Outcome]) -> None:
        """Settle what the snapshot held when it died; raise where it had never begun to work."""
        self._process.wait()
        self._output.seek(0)
        said = self._output.read().decode(errors="replace").strip()
        if not self._running and not self._worked:
            self._lives = False
            raise BackendUnavailable(
                "the local snapshot, the process that imports the experiments and forks the runs, "
                f"ended with code {self._process.returncode} before it could work:\n{said[-4000:]}"
            )
        told = f"{_LOST}\n{said[-2000:]}" if said else _LOST
        running, self._running = self._running, {}
        # Those whose handlers have ended live on until their records are written, which then stand.
        processes.await_ends([pid for _, pid, _ in running.values()], seconds=_WRITING_SECONDS)
        for key, (devices, pid, began) in running.items():
            processes.signal_group(pid, signal.SIGKILL)
            attempt, job = self._tasks.pop(key)
            started = time.time() - (time.monotonic() - began)
            result = self._ended(attempt, "lost", told, started, devices)
            if self._greeting["commits"]:
                provenance = self._greeting["provenance"].encode()
                result = recording.commit(self._storage, result, provenance)
            finished[job] = Outcome(result=result)
        self._lives = False
        self._channel.close()
        self._output.close()
        for key in self._cancelled & set(self._tasks):
            self._withdraw(key, finished)
        if self._tasks:
            self._start()
        for attempt, _ in self._tasks.values():  # they had not begun: nothing is lost yet
            self._send(attempt)

    def _withdraw(self, key: str, finished: dict[Job, Outcome]) -> None:
        attempt, job = self._tasks.pop(key)
        finished[job] = Outcome(result=self._ended(attempt, "cancelled", "never started", 0.0))

    def _ended(
        self,
        attempt: Attempt,
        status: Status,
        message: str,
        started: float,
        devices: Sequence[str] = (),
    ) -> ExperimentResult:
        return recording.result_without_worker(
            attempt,
            folder=self._storage.path(recording.run_folder(attempt)),
            status=status,
            error_type=status.capitalize(),
            error_message=message,
            started=started,
            devices=devices,
        )


_LOST = (
    "the snapshot that supervised the run was killed from outside. Run it again; "
    "if memory was short, lower --parallelism."
)


def _notice(message: Message) -> str:
    if message["isolation"] == "spawn":
        return (
            f"runs start in fresh interpreters, which is slower: {message['hazard']}. "
            "Move that out of module level to have them forked."
        )
    return f"runs are forked as asked, although {message['hazard']}; they may hang."
