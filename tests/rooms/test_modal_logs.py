"""What calls print is added to their logs, each line once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pytest_gpuexp.backends.modal_logs import Logs

AT = datetime(2026, 11, 28, tzinfo=UTC)
LATER = datetime(2026, 11, 28, 0, 0, 1, tzinfo=UTC)


@dataclass
class Entry:
    """As Modal's client gives it."""

    message: str
    call_id: str
    timestamp: datetime = AT

    @property
    def context_ids(self) -> list[str]:
        return [self.call_id, "ta-1"]


@dataclass
class Function:
    """A function whose streams give ``streams``, one after the other, each cut off at its end."""

    streams: list[Sequence[Entry]]
    opened: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def logs(self) -> Function:
        return self

    @property
    def stream(self) -> Function:
        return self

    async def aio(self) -> AsyncIterator[Entry]:
        self.opened += 1
        for entry in self.streams.pop(0):
            yield entry
        if self.streams:
            raise ConnectionResetError("cut off")
        self.done.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.closed.set()


def heard(
    folder: Path, streams: list[Sequence[Entry]], act: Callable[[Logs], object] = id
) -> Function:
    """Return the function that two calls, ``fc-1`` and ``fc-2``, were followed of."""

    async def follow() -> Function:
        function, logs = Function(streams), Logs(after=0.0, first_wait=0.0)
        for call_id in ("fc-1", "fc-2"):
            logs.heed(call_id, function, "fu-1", folder / call_id)
        act(logs)
        async with asyncio.timeout(10):
            await function.done.wait()
        await logs.close()
        return function

    return asyncio.run(follow())


def test_two_calls_are_heard_through_one_stream(tmp_path: Path) -> None:
    entries = [Entry("a\n", "fc-1"), Entry("b\n", "fc-2"), Entry("c\n", "fc-of-others")]

    function = heard(tmp_path, [entries])

    assert function.opened == 1
    assert (tmp_path / "fc-1").read_text() == "a\n"
    assert (tmp_path / "fc-2").read_text() == "b\n"


def test_lines_of_the_very_same_moment_are_all_kept(tmp_path: Path) -> None:
    heard(tmp_path, [[Entry("a\n", "fc-1"), Entry("b\n", "fc-1"), Entry("c\n", "fc-1", LATER)]])

    assert (tmp_path / "fc-1").read_text() == "a\nb\nc\n"


def test_a_stream_that_begins_anew_adds_only_what_is_new(tmp_path: Path) -> None:
    before = [Entry("a\n", "fc-1"), Entry("b\n", "fc-1")]

    heard(tmp_path, [before, [*before, Entry("c\n", "fc-1"), Entry("d\n", "fc-1", LATER)]])

    assert (tmp_path / "fc-1").read_text() == "a\nb\nc\nd\n"


def test_a_call_that_has_ended_gets_nothing_more(tmp_path: Path) -> None:
    heard(tmp_path, [[Entry("late\n", "fc-1")]], lambda logs: logs.forget("fc-1"))

    assert not (tmp_path / "fc-1").exists()


def test_the_stream_of_a_call_of_its_own_ends_with_the_call(tmp_path: Path) -> None:
    async def follow() -> tuple[bool, bool]:
        call, logs = Function([[]]), Logs(after=0.0)
        logs.heed("fc-1", call, "fc-1", tmp_path / "fc-1")
        async with asyncio.timeout(10):
            await call.done.wait()
            open_before = not call.closed.is_set()
            logs.forget("fc-1")
            await call.closed.wait()
        closed = call.closed.is_set()
        await logs.close()
        return open_before, closed

    assert asyncio.run(follow()) == (True, True)


def test_a_stream_that_only_repeats_itself_is_begun_anew_ever_later(tmp_path: Path) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def follow() -> None:
        streams = [[Entry("a\n", "fc-1")]] * 4 + [[Entry("b\n", "fc-1", LATER)], []]
        call, logs = Function(list(streams)), Logs(after=0.0, first_wait=1.0, sleep=sleep)
        logs.heed("fc-1", call, "fc-1", tmp_path / "fc-1")
        async with asyncio.timeout(10):
            await call.done.wait()
        await logs.close()

    asyncio.run(follow())

    assert waits == [1.0, 2.0, 4.0, 8.0, 1.0]
