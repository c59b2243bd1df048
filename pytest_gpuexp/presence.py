"""Which sessions are at work on a storage: the sign of life that each gives there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from pytest_gpuexp import documents, processes
from pytest_gpuexp.claims import Claim, Owner
from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.protocols import Storage

FOLDER = ".sessions"
_BEATS = 4  # signs that a session gives while others would wait for one
_LOOK_SECONDS = 0.5  # a sign is not read more often
_NEVER = float("-inf")


def make_owner() -> Owner:
    """Return this process as the owner of claims, under a new name."""
    return Owner(
        session=uuid.uuid4().hex[:16],
        machine=this_machine(),
        process=f"{os.getpid()}:{processes.start_time(os.getpid())}",
    )


def this_machine() -> str:
    """Return what only processes that see each other share; "" where the system does not tell.

    It names the boot and the space of pids: two containers of one machine do not see each other.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        pids = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return hashlib.sha256(f"{platform.node()} {boot} {pids}".encode()).hexdigest()[:16]


class Presence:
    """Gives this session's sign of life, and reads those of others.

    Clocks of machines are never compared. A sign is a file that is written anew, each time with
    another content; a session whose sign stays as it is for ``lease_seconds`` by our own clock, or
    was taken away, is gone. On the same machine the processes themselves are looked at.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        owner: Owner,
        lease_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Give no sign yet."""
        self.owner = owner
        self._storage = storage
        self._lease = lease_seconds
        self._clock = clock
        self._leave = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: dict[str, tuple[bytes, float]] = {}
        self._looked: dict[str, float] = {}
        self._gone: set[str] = set()
        self._ended: set[str] = set()  # snapshots

    def begin(self) -> None:
        """Give the first sign, and the next ones from a thread, until ``end``."""
        if self._thread is None:
            self._clear()
            self.beat(0)
            self._thread = threading.Thread(target=self._go_on, name="gpuexp-presence", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Take the sign away: what this session has claimed and not recorded is free."""
        if self._thread is not None:
            self._leave.set()
            self._thread.join()
            self._thread = None
            with contextlib.suppress(StorageError, OSError):
                self._storage.delete(_sign(self.owner.session))

    def beat(self, number: int) -> None:
        """Give sign ``number``; a storage that refuses it is asked again at the next one."""
        sign = {
            "host": platform.node(),
            "machine": self.owner.machine,
            "process": self.owner.process,
            "beat": number,
        }
        with contextlib.suppress(StorageError):
            self._storage.write(_sign(self.owner.session), documents.dump(sign), durable=False)

    def others(self) -> bool:
        """Return whether other sessions seem to be at work on this storage."""
        mine = _sign(self.owner.session)
        return any(name != mine for name in self._storage.list(FOLDER))

    def holds(self, claim: Claim) -> bool:
        """Return whether whoever made ``claim`` may still bring its attempt to an end."""
        return self.is_at_work(claim) or (self._is_here(claim) and self._has_runs(claim.handle))

    def is_at_work(self, claim: Claim) -> bool:
        """Return whether the session that made ``claim`` is there, and not its runs alone."""
        if self._is_here(claim):
            # A process may outlive its session, as a notebook does; then the sign is gone.
            return _lives(claim.process) and self._has_sign(claim.session)
        return claim.session != "" and self._gives_signs(claim.session)

    def _is_here(self, claim: Claim) -> bool:
        # Older claims do not name their machine; a bucket had nothing that other machines can see.
        return not claim.session or (claim.machine != "" and claim.machine == self.owner.machine)

    def _has_runs(self, snapshot: str) -> bool:
        """Return whether a snapshot is there, or the process of a run that still writes its record.

        Whoever has none is asked about once: ten thousand runs may have been its.
        """
        if snapshot not in self._ended and not _lives(snapshot):
            pid = snapshot.partition(":")[0]
            if not (pid.isdecimal() and processes.has_heirs(int(pid))):
                self._ended.add(snapshot)
        return snapshot not in self._ended

    def _clear(self) -> None:
        """Take away the signs of sessions of this machine that were killed."""
        for name in self._storage.list(FOLDER):
            with contextlib.suppress(StorageError, FileNotFoundError):
                sign = documents.load(self._storage.read(name), place=name)
                told = sign if isinstance(sign, dict) else {}
                here = told.get("machine") == self.owner.machine != ""
                if here and not _lives(str(told.get("process"))):
                    self._storage.delete(name)

    def _has_sign(self, session: str) -> bool:
        if self._is_due(session):
            self._read(session)
        return session not in self._gone

    def _gives_signs(self, session: str) -> bool:
        if not self._is_due(session):
            return session not in self._gone
        sign, now = self._read(session), self._clock()
        if sign is None:
            return False
        before, since = self._seen.get(session, (b"", now))
        if sign != before:
            self._seen[session] = (sign, now)
        elif now - since > self._lease:
            self._gone.add(session)
            with contextlib.suppress(StorageError):
                self._storage.delete(_sign(session))
            return False
        return True

    def _is_due(self, session: str) -> bool:
        """Return whether the sign of ``session`` should be read again."""
        now = self._clock()
        if session in self._gone or now - self._looked.get(session, _NEVER) < _LOOK_SECONDS:
            return False
        self._looked[session] = now
        return True

    def _read(self, session: str) -> bytes | None:
        try:
            return self._storage.read(_sign(session))
        except FileNotFoundError:
            self._gone.add(session)
            return None

    def _go_on(self) -> None:
        number = 0
        while not self._leave.wait(self._lease / _BEATS):
            number += 1
            self.beat(number)


def _sign(session: str) -> str:
    return f"{FOLDER}/{session}.yaml"


def _lives(handle: str) -> bool:
    pid, _, started = handle.partition(":")
    return pid.isdecimal() and bool(started) and processes.lives(int(pid), started)
