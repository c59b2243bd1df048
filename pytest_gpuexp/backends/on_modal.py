"""Modal's GPUs: one call a run, on functions that are deployed."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from pytest_gpuexp import bundle, documents, recording, transport
from pytest_gpuexp.backends import modal_failures, modal_names, travelling
from pytest_gpuexp.backends.carrying import Carrying
from pytest_gpuexp.backends.landing import Landing
from pytest_gpuexp.backends.modal_calls import CANCEL_SECONDS, Calls, Ended
from pytest_gpuexp.backends.modal_claims import VOID
from pytest_gpuexp.backends.modal_service import ModalService
from pytest_gpuexp.backends.remarks import Remarks
from pytest_gpuexp.errors import BackendUnavailable, GpuexpError
from pytest_gpuexp.project import Project
from pytest_gpuexp.records import Attempt, Job, Outcome, RunSpec, Status
from pytest_gpuexp.storage.local import LocalStorage

# Of provenance; the rest the container knows.
_OURS_TO_SAY = ("git", "command_line", "user", "packages")
_FETCHES = 4  # replies whose files are fetched at once; the others land meanwhile
_SHORT_SECONDS = 0.05


class ModalBackend:
    """Runs attempts as calls of the project's deployed app.

    ``notices`` collects what the user should be told once.
    """

    name = "modal"
    lookahead = 0
    cancel_seconds = CANCEL_SECONDS + 0.5  # Modal ends what it was asked to, or is not there
    outlives_session = True

    def __init__(
        self,
        *,
        project: Project,
        root: Path,
        greeting: Mapping[str, Any],
        storage: LocalStorage,
        storage_url: str,
        spooled: bool,
        at_home: Iterable[Path] = (),
        ephemeral: bool = False,
        max_containers: int | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Send nothing yet.

        ``root`` is the project's folder, ``greeting`` what a local worker would be told,
        ``storage`` the folder that takes what comes back, for the storage that ``storage_url``
        names on any machine, ``at_home`` folders that never travel. What is ``spooled`` here has
        still a way to go, so Modal's copy stays.
        An ``ephemeral`` app is this session's own, and nothing need be deployed.
        ``max_containers`` bounds what runs at once where nobody is here to do so.
        """
        self._service = ModalService(project, root=root if ephemeral else None)
        self._max_containers = max_containers
        self._scope = hashlib.sha256(storage_url.encode()).hexdigest()[:16]
        self._root = root
        self._greeting = greeting
        self._storage = storage
        self._at_home = tuple(at_home)
        self._exclude = project.modal.exclude
        self._clock = wall_clock
        self.handle = secrets.token_hex(6)
        self._remarks = Remarks()
        self.notices = self._remarks.notices
        self._luggage = ""
        self._facts: Mapping[str, Any] = {}
        self._flying: dict[str, tuple[Attempt, Job, float]] = {}
        self._cancelled: set[str] = set()
        self._landing = Landing(self._service, storage, tidy=not spooled)
        self._pool = Carrying(_FETCHES, name="gpuexp-fetch")
        self._fetching: dict[str, tuple[Ended, Future[Outcome]]] = {}
        self._calls = Calls(self._service.claims)

    def check(self, specs: Iterable[RunSpec]) -> None:
        """See that Modal can take ``specs``; nothing is called.

        Raises:
            BackendUnavailable: it cannot.
        """
        known = self._service.project.tiers
        tiers = {self._service.tier(spec.tier).name for spec in specs}
        self._service.check(sorted(name for name in tiers if name in known))

    def prepare(self, provenance: bytes, specs: Iterable[RunSpec]) -> None:
        """Send the code of ``specs`` ahead, unless it is there; ``provenance`` ends every record.

        Raises:
            GpuexpError: the code is too large, or git ignores a file with experiments.
        """
        facts = documents.load(provenance, place="provenance")["provenance"]
        self._facts = {name: facts[name] for name in _OURS_TO_SAY}
        made = bundle.make_bundle(self._root, without=self._at_home, exclude=self._exclude)
        absent = sorted({spec.path for spec in specs} - set(made.names))
        if absent:
            raise GpuexpError(
                f"{', '.join(absent)} would not travel to Modal: git ignores it, or it is excluded "
                "or a link out of the project. Let git know it."
            )
        if made.left:
            told = ", ".join(f"{name} ({size / 1e6:.0f} MB)" for name, size in made.left.items())
            self.notices.append(f"these files are too large to travel and stay here: {told}")
        luggage = travelling.pack(self._greeting, root=self._root, bundle=made.digest)
        try:
            self._service.send(
                {
                    f"{made.digest}.tar.gz": made.archive,
                    f"{luggage.digest}.json": luggage.text.encode(),
                }
            )
        except Exception as error:
            raise BackendUnavailable(
                f"the code could not be sent to Modal: {type(error).__name__}: {error}"
            ) from error
        self._luggage = luggage.digest

    def submit(self, attempt: Attempt) -> Job:
        """Spawn a call for ``attempt``; its id comes by ``handles``."""
        spec = attempt.spec
        tier = self._service.tier(spec.tier)
        limit = tier.timeout_seconds if spec.timeout_seconds is None else spec.timeout_seconds
        limit = None if limit is None else modal_names.attempt_limit(limit)
        bounded = dataclasses.replace(
            attempt, spec=dataclasses.replace(spec, gpus=tier.gpus, timeout_seconds=limit)
        )
        claim = _claim(self.handle, attempt)
        task = {
            "luggage": self._luggage,
            "attempt": transport.attempt_to_plain(bounded),
            "claim": claim,
            "provenance": self._facts,
            "scope": self._scope,
        }
        job = Job(key=attempt.key, backend=self.name, handle="")
        self._flying[attempt.key] = attempt, job, self._clock()
        function = self._service.binding(spec.tier, limit, max_containers=self._max_containers)
        self._calls.spawn(
            attempt.key, function, json.dumps(task), claim=claim, log=self._log(attempt)
        )
        return job

    def adopt(self, attempt: Attempt, handle: str) -> Job | None:
        """Follow the call of another session that ``handle`` finds; None where none ever begins.

        Where that session was killed before it knew the call, whoever has the claim decides: a call
        that has begun has it; if we take it, a call that begins later finds it taken, and leaves.

        Raises:
            BackendUnavailable: Modal cannot say.
        """
        token, _, call_id = handle.partition(":")
        claim = _claim(token, attempt)
        if not call_id:
            call_id = self._service.claimant(claim, otherwise=VOID)
        if call_id == VOID:
            return None
        job = Job(key=attempt.key, backend=self.name, handle=handle)
        self._flying[attempt.key] = attempt, job, self._clock()
        self._calls.adopt(attempt.key, call_id, claim=claim, log=self._log(attempt))
        return job

    def handles(self) -> dict[str, str]:
        """Return what finds calls again that were spawned since this was asked, by attempt key."""
        found = self._calls.handles()
        return {key: f"{self.handle}:{call_id}" for key, call_id in found.items()}

    def poll(self, jobs: Collection[Job], *, timeout: float) -> dict[Job, Outcome]:
        """Return what has ended, waiting up to ``timeout`` seconds for the first.

        Raises:
            BackendUnavailable: Modal could not be reached for too long; what runs there goes on.
        """
        finished: dict[Job, Outcome] = {}
        fetched = [key for key, (_, future) in self._fetching.items() if future.done()]
        for key in fetched:
            ended, future = self._fetching.pop(key)
            self._end(ended, future.result, finished)
        patience = min(timeout, _SHORT_SECONDS) if self._fetching else timeout
        for ended in self._calls.take(0.0 if fetched else patience):
            self._end(ended, functools.partial(self._land, ended), finished)
        return finished

    def _end(
        self, ended: Ended, land: Callable[[], Outcome | None], finished: dict[Job, Outcome]
    ) -> None:
        """Add to ``finished`` how a call has ended, unless its files are still to be fetched."""
        attempt, job, _ = self._flying[ended.key]
        outcome = self._outcome(attempt, ended, land)
        if outcome is not None:
            del self._flying[ended.key]
            finished[job] = outcome

    def running(self) -> Mapping[str, float]:
        """Return the keys of the attempts whose calls were spawned, with their ages in seconds."""
        now = self._clock()
        return {key: now - began for key, (_, _, began) in self._flying.items()}

    def cancel(self, jobs: Collection[Job]) -> None:
        """End the calls of ``jobs``, and their containers."""
        self._cancelled |= {job.key for job in jobs}
        self._calls.cancel(self._cancelled)

    def leave(self, name: str, data: bytes) -> str:
        """Put a copy of a report on the results volume; return why it cannot be, "" if it is."""
        try:
            self._service.leave(name, data)
        except Exception as error:  # noqa: BLE001 -- the report itself is where it belongs
            return f"the copy of {name} on Modal's volume could not be made: {error}"
        return ""

    def close(self) -> None:
        """Follow nothing any more."""
        self._landing.close()
        self._pool.close()
        self._calls.close()
        self._service.close()

    def _land(self, ended: Ended) -> Outcome | None:
        """Return what a call replies, at home; None where its files are fetched beside others."""
        attempt, _, _ = self._flying[ended.key]
        arrived = self._landing.read(attempt, ended.reply or "")
        if not arrived.large:
            return self._landing.land(attempt, arrived)
        future = self._pool.submit(self._landing.land, attempt, arrived)
        self._fetching[ended.key] = ended, future
        return None

    def _outcome(
        self, attempt: Attempt, ended: Ended, land: Callable[[], Outcome | None]
    ) -> Outcome | None:
        if ended.reply is not None:
            try:
                outcome = land()
                if outcome is not None:
                    tier = self._service.tier(attempt.spec.tier)
                    self._remarks.look_at(outcome.result, tier)
                return outcome
            except BackendUnavailable:
                raise
            # One reply that is not ours must not end the others.
            except (GpuexpError, LookupError, TypeError, ValueError) as error:
                told = f"the reply of call {ended.call_id} cannot be used: {error}"
                return self._settle(attempt, ended, ("failed", type(error).__name__, told))
        assert ended.error is not None  # a call ends with one or the other
        cancelled = attempt.key in self._cancelled
        if not modal_failures.is_final(ended.error) and not cancelled:
            raise BackendUnavailable(
                f"Modal could not be asked: {type(ended.error).__name__}: {ended.error}. What runs "
                "there goes on; come back with: pytest --resume"
            )
        ending = modal_failures.ending_of(
            ended.error, cancelled=cancelled, timeout_seconds=attempt.spec.timeout_seconds
        )
        return self._settle(attempt, ended, ending)

    def _settle(self, attempt: Attempt, ended: Ended, ending: tuple[Status, str, str]) -> Outcome:
        """Write the record of an attempt whose worker cannot speak."""
        status, error_type, message = ending
        result = recording.result_without_worker(
            attempt,
            folder=self._storage.path(recording.run_folder(attempt)),
            status=status,
            error_type=error_type,
            error_message=message,
            started=ended.began if ended.call_id else 0.0,
            devices=(),
        )
        if not ended.call_id:
            return Outcome(result=result)
        text = documents.dump({"provenance": {**self._facts, "call": ended.call_id}})
        result = recording.commit(self._storage, result, text)
        log = self._log(attempt)
        tail = log.read_text(errors="replace")[-(64 << 10) :] if log.exists() else ""
        return Outcome(result=result, log_tail=tail)

    def _log(self, attempt: Attempt) -> Path:
        return self._storage.path(recording.run_folder(attempt)) / "log.txt"


def _claim(token: str, attempt: Attempt) -> str:
    """Return the name under which a call claims an attempt of the session that has ``token``."""
    return f"{token}/{attempt.key}"
