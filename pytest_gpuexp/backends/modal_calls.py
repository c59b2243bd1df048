"""The calls of one session, spawned and awaited in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import queue
import threading
import time
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pytest_gpuexp.backends.modal_claims import VOID, claimed_by, settle
from pytest_gpuexp.backends.modal_failures import is_final, is_refusal
from pytest_gpuexp.backends.modal_logs import Logs

# How long nobody may be reached before the session gives up; its calls go on without it.
PATIENCE_SECONDS = 900.0
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 15.0
CANCEL_SECONDS, _LEAVE_SECONDS, _THREAD_SECONDS = 3.0, 1.0, 1.5
_GLANCE_SECONDS, _ASK_SECONDS = 1.0, 60.0
_SHORT_SECONDS = 0.05

T = TypeVar("T")
_Tasks = set[asyncio.Task[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A call that has come to its end: with a reply, or with what was raised instead."""

    key: str
    call_id: str
    began: float
    reply: str | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """A call that is there, and what streams its output; it is asked for ``glance`` s at first."""

    call: Any
    call_id: str
    source: Any
    source_id: str
    glance: float


class Calls:
    """Spawns calls and awaits them, all at once; what has ended is taken by ``take``."""

    def __init__(
        self,
        claims: Callable[[], Any],
        *,
        patience: float = PATIENCE_SECONDS,
        cancel_seconds: float = CANCEL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        find: Callable[[str], Any] | None = None,
    ) -> None:
        """Start the thread; a server may be away for ``patience`` seconds.

        ``claims`` gives the Dict in which calls claim what they were spawned for, ``find`` Modal's
        object of a call's id. What is cancelled is so within ``cancel_seconds``, or left alone.
        """
        self._claims = claims
        self._find = find or _from_id
        self._patience = patience
        self._cancel_seconds = cancel_seconds
        self._clock = clock
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._known: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._following: _Tasks = set()
        self._ending: _Tasks = set()
        self._calls: dict[str, Any] = {}
        self._cancelled: set[str] = set()
        # The claims of those that another call may have begun, one that is not known here.
        self._unsure: dict[str, str] = {}
        self._voids: dict[str, asyncio.Task[str]] = {}
        self._leaving = False
        self._logs = Logs()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="gpuexp-modal", daemon=True
        )
        self._thread.start()

    def spawn(self, key: str, function: Any, task: str, *, claim: str, log: Path) -> None:
        """Call ``function`` with ``task`` and follow it; its output is added to ``log``."""

        async def spawn() -> _Known:
            if key in self._cancelled:
                raise asyncio.CancelledError
            asked_before = key in self._unsure
            self._unsure[key] = claim
            call = await function.spawn.aio(task)
            if not asked_before:  # or that answer was lost, and not the call
                del self._unsure[key]
            # No output of one that was spawned now has expired yet.
            return _Known(call, call.object_id, function, function.object_id, _ASK_SECONDS)

        self._begin(key, spawn, log)

    def adopt(self, key: str, call_id: str, *, claim: str, log: Path) -> None:
        """Follow the call ``call_id``, which another session has spawned."""

        async def find() -> _Known:
            self._unsure[key] = claim
            return self._found(call_id)

        self._begin(key, find, log)

    def handles(self) -> dict[str, str]:
        """Return the ids of calls that have become known since this was asked last, by key."""
        found: dict[str, str] = {}
        with contextlib.suppress(queue.Empty):
            while True:
                key, call_id = self._known.get_nowait()
                found[key] = call_id
        return found

    def take(self, timeout: float) -> list[Ended]:
        """Return the calls that have ended, waiting ``timeout`` seconds for the first."""
        ended: list[Ended] = []
        with contextlib.suppress(queue.Empty):
            ended.append(self._ended.get(timeout=timeout))
            while True:
                ended.append(self._ended.get_nowait())
        return ended

    def cancel(self, keys: Collection[str]) -> None:
        """End the calls of ``keys`` and the containers they run in; they come by ``take``."""
        self._loop.call_soon_threadsafe(self._cancel, list(keys))

    def close(self) -> None:
        """Follow nothing any more; calls that run go on."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_THREAD_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LEAVE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def _begin(self, key: str, begin: Callable[[], Any], log: Path) -> None:
        def start() -> None:
            self._start(self._follow(key, begin, log), self._following)

        self._loop.call_soon_threadsafe(start)

    async def _follow(self, key: str, begin: Callable[[], Any], log: Path) -> None:
        began = time.time()
        call_id, said = await self._heard(key, begin, log)
        if self._leaving:
            return
        if isinstance(said, BaseException) and key in self._unsure and key in self._voids:
            holder = await self._voids[key]
            if not holder:  # it may go on, under an id that only a session to come will learn
                return
            if holder not in (VOID, call_id):
                begin = functools.partial(self._find_again, holder)
                call_id, said = await self._heard(key, begin, log)
        self._calls.pop(key, None)
        self._unsure.pop(key, None)
        about = {"reply": said} if isinstance(said, str) else {"error": said}
        self._ended.put(Ended(key=key, call_id=call_id, began=began, **about))

    async def _heard(
        self, key: str, begin: Callable[[], Any], log: Path
    ) -> tuple[str, str | BaseException]:
        """Return the id of the call that has an attempt, with its reply or what it raised."""
        call_id = ""
        try:
            known: _Known = await self._persist(begin)
            call_id = known.call_id
            reply = await self._reply(key, known, log)
            other = claimed_by(reply)
            if other == VOID:  # given up before it began, by a session that resumes or ends
                raise asyncio.CancelledError
            if other:  # an earlier spawn of ours, whose answer was lost, or another session's
                call_id = other
                reply = await self._reply(key, self._found(other), log)
        # What is not ours to judge here is told as it came.
        except BaseException as error:  # noqa: BLE001
            return call_id, error
        return call_id, reply

    async def _reply(self, key: str, known: _Known, log: Path) -> str:
        """Return what a call replies, its id told and its output heard meanwhile."""
        self._calls[key] = known.call
        self._known.put((key, known.call_id))
        if key in self._cancelled:
            self._start(_end(known.call), self._ending)
        self._logs.heed(known.call_id, known.source, known.source_id, log)
        seconds = known.glance
        try:
            while True:
                reply = await self._persist(functools.partial(_ask, known.call, seconds))
                if reply is not None:
                    return str(reply)
                seconds = _ASK_SECONDS
                await asyncio.sleep(_SHORT_SECONDS)
        finally:
            self._logs.forget(known.call_id)

    async def _find_again(self, call_id: str) -> _Known:
        return self._found(call_id)

    def _found(self, call_id: str) -> _Known:
        call = self._find(call_id)
        return _Known(call, call_id, call, call_id, _GLANCE_SECONDS)

    async def _persist(self, attempt: Callable[[], Any]) -> Any:
        """Return what ``attempt`` gives, made again while nobody can be reached.

        The patience begins with the first failure. A spawn that is made twice does no harm: the
        first call to begin has the claim.
        """
        wait, failing_since = _FIRST_WAIT, math.inf
        while True:
            try:
                return await attempt()
            except Exception as error:
                failing_since = min(failing_since, self._clock())
                tried = self._clock() - failing_since
                if is_final(error) or is_refusal(error) or tried > self._patience:
                    raise
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _cancel(self, keys: Collection[str]) -> None:
        self._cancelled.update(keys)
        for key in keys:
            if key in self._calls:
                self._start(_end(self._calls[key]), self._ending)
            if key in self._unsure and key not in self._voids:
                self._voids[key] = self._start(self._void(self._unsure[key]), self._following)

    async def _void(self, claim: str) -> str:
        """Let no call begin under ``claim`` any more, and end the one that has, which is returned.

        Returns VOID where none has, "" where nobody could say in time.
        """
        holder = await settle(self._claims, claim, seconds=self._cancel_seconds)
        if holder not in ("", VOID):
            self._start(_end(self._find(holder)), self._ending)
        return holder

    def _start(self, work: Coroutine[Any, Any, T], among: _Tasks) -> asyncio.Task[T]:
        task = self._loop.create_task(work)
        among.add(task)  # the loop itself would not keep it
        task.add_done_callback(among.discard)
        return task

    async def _stop(self) -> None:
        """Stop following at once; what is being ended has a moment."""
        self._leaving = True
        for task in self._following:
            task.cancel()
        under_way = [*self._following, *self._ending, self._logs.close()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await asyncio.gather(*under_way, return_exceptions=True)


def _from_id(call_id: str) -> Any:
    import modal

    return modal.FunctionCall.from_id(call_id)


async def _ask(call: Any, seconds: float) -> str | None:
    """Return what ``call`` replies, or None where it has not within ``seconds``."""
    # The client sees that an output has expired when its patience ends, and not before.
    try:
        return str(await call.get.aio(timeout=seconds))
    except TimeoutError:
        return None


async def _end(call: Any) -> None:
    with contextlib.suppress(Exception):  # it has ended by itself, or nobody can be reached
        await asyncio.wait_for(call.cancel.aio(terminate_containers=True), CANCEL_SECONDS)
