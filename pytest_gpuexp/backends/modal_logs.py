"""What calls print while they run, heard through one stream a function."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pytest_gpuexp.backends import relayed

AFTER_SECONDS = 2.0  # a call that ends sooner brings its log with its reply
FIRST_WAIT_SECONDS, _LONGEST_WAIT = 1.0, 60.0


class Logs:
    """Adds what calls print to their logs here; to be used within one event loop.

    A stream a call would cost a request a second for each, and a connection's patience: the client
    asks whether the call has ended.
    """

    def __init__(
        self,
        *,
        after: float = AFTER_SECONDS,
        first_wait: float = FIRST_WAIT_SECONDS,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Hear nothing yet; what a call prints is of interest ``after`` so many seconds.

        A stream that breaks off is begun anew after ``first_wait`` seconds, then ever later.
        """
        self._after = after
        self._first_wait = first_wait
        self._sleep = sleep
        self._outputs: dict[str, _Output] = {}
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def heed(self, call_id: str, source: Any, source_id: str, log: Path) -> None:
        """Add to ``log`` what the call prints, if it takes its time.

        ``source`` is what Modal's client streams logs of: the call's function, or the call itself.
        """
        output = self._outputs[call_id] = _Output(source_id, relayed.Relayed(log))
        asyncio.get_running_loop().call_later(self._after, self._open, call_id, output, source)

    def forget(self, call_id: str) -> None:
        """Add nothing more of a call: its reply brings the whole log.

        A function's stream stays for the calls to come: begun anew it would bring all of its log.
        """
        self._outputs.pop(call_id, None)
        if stream := self._streams.pop(call_id, None):  # of this call alone
            stream.cancel()
            self._closing.add(stream)
            stream.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Hear nothing any more."""
        self._outputs.clear()
        streams = [*self._streams.values(), *self._closing]
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)

    def _open(self, call_id: str, output: _Output, source: Any) -> None:
        if self._outputs.get(call_id) is not output:
            return
        output.show()
        source_id = output.source_id
        if source_id not in self._streams:
            following = self._follow(source, source_id)
            self._streams[source_id] = asyncio.get_running_loop().create_task(following)

    async def _follow(self, source: Any, source_id: str) -> None:
        wait = self._first_wait
        while True:
            # A log that is late is no reason to lose a run.
            with contextlib.suppress(Exception):
                # Closed here, or it would speak up when the client is.
                async with contextlib.aclosing(source.logs.stream.aio()) as entries:
                    self._begin_anew(source_id)
                    async for entry in entries:
                        if self._take(entry, source_id):
                            wait = self._first_wait
            await self._sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _begin_anew(self, source_id: str) -> None:
        for output in self._outputs.values():
            if output.source_id == source_id:
                output.begin_anew()

    def _take(self, entry: Any, source_id: str) -> bool:
        """Add ``entry`` to whose it is; return whether it is new there."""
        # Of a stream of one call all entries are that call's; of a function's they name it.
        for call_id in (source_id, *entry.context_ids):
            output = self._outputs.get(call_id)
            if output is not None and output.source_id == source_id:
                return output.take(entry.timestamp, entry.message)
        return False


class _Output:
    """The output of one call: kept back until it is to be shown; each line once."""

    def __init__(self, source_id: str, relay: relayed.Relayed) -> None:
        self.source_id = source_id
        self._add: Callable[[str], None] = relay.add
        self._held: list[str] | None = []
        self._last: datetime | None = None
        self._at_last = 0  # entries of that very moment that are here
        self._to_skip = 0

    def begin_anew(self) -> None:
        """Expect a stream that may begin with what is here already."""
        self._to_skip = self._at_last

    def take(self, at: datetime, text: str) -> bool:
        """Add ``text``; return whether it was not here yet."""
        if self._last is not None and at < self._last:
            return False
        if at != self._last:
            self._last, self._at_last, self._to_skip = at, 0, 0
        elif self._to_skip:
            self._to_skip -= 1
            return False
        self._at_last += 1
        if self._held is None:
            self._add(text)
        else:
            self._held.append(text)
        return True

    def show(self) -> None:
        held, self._held = self._held, None
        if held:
            self._add("".join(held))
