"""The calls of one session, spawned and awaited in a thread of their own."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import modal.exception as told
import pytest

from pytest_gpuexp.backends.modal_calls import Calls, Ended
from pytest_gpuexp.backends.modal_claims import VOID


@dataclass
class Clock:
    """Time that passes while a call is asked for its output."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Asked:
    """What is asked as Modal's objects are: by ``aio``; answers one after the other."""

    answers: list[Any]
    clock: Clock = field(default_factory=Clock)
    times: int = 0

    async def aio(self, *_: object, timeout: float = 0.0, **__: object) -> Any:
        self.times += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            self.clock.now += timeout
            raise answer
        return answer


@dataclass
class Call:
    get: Asked
    cancel: Asked = field(default_factory=lambda: Asked([None]))
    object_id: str = "fc-1"


@dataclass
class Function:
    spawn: Asked
    object_id: str = "fu-1"


@dataclass
class Claims:
    """A Dict whose ``put`` says whether the key was free, and whose ``get`` who has it."""

    put: Asked
    get: Asked = field(default_factory=lambda: Asked(["fc-first"]))


GONE = told.ConnectionError("nobody there")
NOT_YET = TimeoutError()


@contextmanager
def calls(claims: object = None, **about: Any) -> Iterator[Calls]:
    opened = Calls(lambda: claims, **about)
    yield opened
    opened.close()


def taken(opened: Calls, seconds: float = 20.0) -> Ended:
    [ended] = opened.take(seconds)
    return ended


def test_patience_begins_with_the_first_failure_and_not_with_the_run(tmp_path: Path) -> None:
    clock = Clock()
    call = Call(Asked([*[NOT_YET] * 20, GONE, NOT_YET, GONE, "the reply"], clock))

    with calls(patience=100.0, clock=clock) as opened:
        opened.spawn("run.1", Function(Asked([call])), "{}", claim="c", log=tmp_path / "log")
        ended = taken(opened)

    assert clock.now > 1000
    assert (ended.error, ended.reply) == (None, "the reply")


def test_a_server_that_stays_away_ends_the_patience(tmp_path: Path) -> None:
    clock = Clock()
    call = Call(Asked([NOT_YET, GONE], clock))

    with calls(patience=100.0, clock=clock) as opened:
        opened.spawn("run.1", Function(Asked([call])), "{}", claim="c", log=tmp_path / "log")
        ended = taken(opened)

    assert ended.error is GONE
    assert ended.call_id == "fc-1"


def cancelled_while_lost(folder: Path, claims: Claims, *, found: Call | None = None) -> list[Ended]:
    """Return what comes of a run that is cancelled after the answer to its spawn was lost."""
    function = Function(Asked([GONE]))
    with calls(claims, find=lambda _: found, cancel_seconds=0.5) as opened:
        opened.spawn("run.1", function, "{}", claim="c", log=folder / "log")
        while not function.spawn.times:
            time.sleep(0.01)
        opened.cancel(["run.1"])
        return opened.take(2.0)


def test_what_may_have_begun_has_not_ended_while_its_claim_is_unknown(tmp_path: Path) -> None:
    assert cancelled_while_lost(tmp_path, Claims(Asked([GONE]))) == []


def test_what_never_begins_any_more_has_ended_without_a_call(tmp_path: Path) -> None:
    [ended] = cancelled_while_lost(tmp_path, Claims(Asked([GONE, True])))

    assert isinstance(ended.error, asyncio.CancelledError)
    assert ended.call_id == ""


def test_a_claim_that_was_made_void_by_a_request_without_an_answer_is_void(tmp_path: Path) -> None:
    [ended] = cancelled_while_lost(tmp_path, Claims(Asked([False]), Asked([VOID])))

    assert isinstance(ended.error, asyncio.CancelledError)
    assert ended.call_id == ""


def test_the_call_that_has_the_claim_is_cancelled_and_followed_to_its_end(tmp_path: Path) -> None:
    first = Call(Asked([told.RemoteError("cancelled")]))

    [ended] = cancelled_while_lost(tmp_path, Claims(Asked([False])), found=first)

    assert first.cancel.times
    assert (ended.call_id, ended.error) == ("fc-first", first.get.answers[0])


def test_a_spawn_that_conflicts_with_another_is_made_again(tmp_path: Path) -> None:
    function = Function(Asked([told.ConflictError("ABORTED"), Call(Asked(["the reply"]))]))

    with calls() as opened:
        opened.spawn("run.1", function, "{}", claim="c", log=tmp_path / "log")
        ended = taken(opened)

    assert (ended.error, ended.reply) == (None, "the reply")


class Silent(Asked):
    """What never answers."""

    async def aio(self, *_: object, timeout: float = 0.0, **__: object) -> Any:
        self.times += 1
        await asyncio.Event().wait()


def test_nothing_is_pending_when_it_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    call, put, spawn = Call(Silent([]), cancel=Silent([])), Silent([]), Silent([])

    with calls(Claims(put)) as opened:
        for key, answer in (("run.1", Asked([call])), ("run.2", spawn)):
            opened.spawn(key, Function(answer), "{}", claim="c", log=tmp_path / key)
        while not (call.get.times and spawn.times):
            time.sleep(0.01)
        opened.cancel(["run.1", "run.2"])
        while not (call.cancel.times and put.times):
            time.sleep(0.01)
    del opened
    gc.collect()

    assert "destroyed" not in caplog.text
