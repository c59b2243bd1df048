"""The calls of one session, spawned and awaited in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import queue
import threading
import time
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_gpuexp.backends import relayed

VOID = "void"  # the claim of an attempt that nobody will run
# How long nobody may be reached before the session gives up; its calls go on without it.
PATIENCE_SECONDS = 900.0
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 15.0
_CANCEL_SECONDS = 4.0
_GLANCE_SECONDS, _ASK_SECONDS = 1.0, 60.0
_SHORT_SECONDS = 0.05
_IDLE_SECONDS, _LONGEST_IDLE = 1.0, 4.0
_LOG_AFTER_SECONDS = 2.0  # a call that ends sooner brings its log with its reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A call that has come to its end: with a reply, or with what was raised instead."""

    key: str
    call_id: str
    began: float
    reply: str | None = None
    error: BaseException | None = None


class Calls:
    """Spawns calls and awaits them, all at once; what has ended is taken by ``take``."""

    def __init__(self, *, patience: float = PATIENCE_SECONDS) -> None:
        """Start the thread; a server may be away for ``patience`` seconds."""
        self._patience = patience
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._known: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._calls: dict[str, Any] = {}
        self._cancelled: set[str] = set()
        self._readers = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="gpuexp-modal", daemon=True
        )
        self._thread.start()

    def spawn(self, key: str, function: Any, task: str, *, log: Path) -> None:
        """Call ``function`` with ``task`` and follow it; its output is added to ``log``."""

        async def spawn() -> tuple[Any, str]:
            call = await function.spawn.aio(task)
            return call, call.object_id

        self._begin(key, spawn, log)

    def adopt(self, key: str, call_id: str, *, log: Path) -> None:
        """Follow the call ``call_id``, which another session has spawned."""

        async def find() -> tuple[Any, str]:
            return _find(call_id), call_id

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
        self._loop.call_soon_threadsafe(self._leave)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, Any], timeout: float) -> Any:
        """Return what ``work`` gives, done in the thread of the calls."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def _begin(self, key: str, begin: Callable[[], Any], log: Path) -> None:
        def start() -> None:
            self._tasks[key] = self._loop.create_task(self._follow(key, begin, log))

        self._loop.call_soon_threadsafe(start)

    async def _follow(self, key: str, begin: Callable[[], Any], log: Path) -> None:
        began, call_id = time.time(), ""
        try:
            call, call_id = await self._persist(begin)
            self._know(key, call, call_id)
            self._loop.create_task(self._read_log(key, call, log))
            reply = await self._persist(lambda: self._get(key))
            other = _claimed_by(reply)
            if other == VOID:  # given up before it began, by a session that resumes
                raise asyncio.CancelledError
            if other:  # an earlier spawn of ours, whose answer was lost, or another session's
                self._know(key, _find(other), other)
                reply = await self._persist(lambda: self._get(key))
            ended = Ended(key=key, call_id=call_id, began=began, reply=reply)
        except asyncio.CancelledError as error:
            ended = Ended(key=key, call_id=call_id, began=began, error=error)
        # What is not ours to judge here is told as it came.
        except BaseException as error:  # noqa: BLE001
            ended = Ended(key=key, call_id=call_id, began=began, error=error)
        self._tasks.pop(key, None)
        self._calls.pop(key, None)
        self._ended.put(ended)

    def _know(self, key: str, call: Any, call_id: str) -> None:
        self._calls[key] = call
        self._known.put((key, call_id))
        if key in self._cancelled:
            self._loop.create_task(_end(call))

    async def _get(self, key: str) -> str:
        # The client sees that an output has expired when its patience ends, and not before.
        for seconds in itertools.chain([_GLANCE_SECONDS], itertools.repeat(_ASK_SECONDS)):
            with contextlib.suppress(TimeoutError):
                return str(await self._calls[key].get.aio(timeout=seconds))
            await asyncio.sleep(_SHORT_SECONDS)
        raise AssertionError("it is asked for ever")

    async def _persist(self, attempt: Callable[[], Any]) -> Any:
        """Return what ``attempt`` gives, made again while nobody can be reached.

        A spawn that is made twice does no harm: the first call to begin has the claim.
        """
        given_up = self._loop.time() + self._patience
        wait = _FIRST_WAIT
        while True:
            try:
                return await attempt()
            except Exception as error:
                if is_final(error) or is_refusal(error) or self._loop.time() > given_up:
                    raise
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _cancel(self, keys: Collection[str]) -> None:
        self._cancelled.update(keys)
        for key in keys:
            if key in self._calls:
                self._loop.create_task(_end(self._calls[key]))

    async def _read_log(self, key: str, call: Any, log: Path) -> None:
        """Add what ``call`` prints to ``log`` while it runs; the reply brings the whole of it."""
        await asyncio.sleep(_LOG_AFTER_SECONDS)
        last: Any = None
        output, idle = relayed.Relayed(log), _IDLE_SECONDS
        self._readers += 1
        try:
            while key in self._calls:
                # One that is broken off would speak up when the client is closed.
                async for entry in call.logs.stream.aio(timeout=idle):
                    if key not in self._calls:
                        continue
                    if last is None or entry.timestamp > last:  # a stream begins anew
                        last = entry.timestamp
                        output.add(entry.message)
                idle = min(2 * idle, _LONGEST_IDLE)  # a quiet run is asked less often
        # A log that is late is no reason to lose the run.
        except Exception:  # noqa: BLE001
            return
        finally:
            self._readers -= 1

    def _leave(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._calls.clear()  # which ends the readers
        self._loop.create_task(self._stop())

    async def _stop(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0.1)
            if not self._readers:
                break
        self._loop.stop()


def is_final(error: BaseException) -> bool:
    """Return whether ``error`` is how a call ended; all else says that we could not ask.

    A container's own errors come as their replies (``in_container``), or as these.
    """
    import grpclib.exceptions
    import modal.exception as told

    ends = (
        told.FunctionTimeoutError,
        told.OutputExpiredError,
        told.NotFoundError,
        told.RemoteError,
        told.InternalFailure,
        asyncio.CancelledError,
    )
    asked = (told.Error, OSError, grpclib.exceptions.StreamTerminatedError, TimeoutError)
    return isinstance(error, ends) or not isinstance(error, asked)


def is_refusal(error: BaseException) -> bool:
    """Return whether Modal would say the same however often it is asked."""
    import modal.exception as told

    return isinstance(error, told.AuthError | told.PermissionDeniedError | told.VersionError)


def _find(call_id: str) -> Any:
    import modal

    return modal.FunctionCall.from_id(call_id)


async def _end(call: Any) -> None:
    with contextlib.suppress(Exception):  # it has ended by itself, or nobody can be reached
        await asyncio.wait_for(call.cancel.aio(terminate_containers=True), _CANCEL_SECONDS)


def _claimed_by(reply: str) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(reply).get("claimed_by", ""))
    return ""
