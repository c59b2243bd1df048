"""A backend whose outcomes come when they are published."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, cast

from pytest_gpuexp.backends.published import PublishedBackend
from pytest_gpuexp.dispatch import Dispatch
from pytest_gpuexp.halting import left_behind
from pytest_gpuexp.protocols import seconds_to_end
from pytest_gpuexp.publishing import Publisher
from pytest_gpuexp.records import Attempt, Job, Outcome
from tests.rooms.test_dispatch import Shop, attempt


class Leaving(Shop):
    """A backend that ends all that it has, and has a second to do so."""

    cancel_seconds = 1.0
    outlives_session = True

    def poll(self, jobs: Collection[Job], *, timeout: float) -> dict[Job, Outcome]:
        ended = super().poll(jobs, timeout=timeout)
        return {
            job: Outcome(result=dataclasses.replace(one.result, started_at="2026-11-28T00:00:00Z"))
            for job, one in ended.items()
        }


class Hanging:
    """A publisher whose storage says nothing until the test ends."""

    checkpoints: Any = None

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.over = threading.Event()

    def attempt(self, *_: object) -> str:
        self.asked.set()
        self.over.wait(60)
        return ""


@contextmanager
def publishing(publisher: Hanging) -> Iterator[tuple[PublishedBackend, Dispatch]]:
    """Give a session's backend, whose one attempt is being published."""
    backend = PublishedBackend(
        Leaving(iter([1])), cast(Publisher, publisher), lose=lambda: None, tell=lambda _: None
    )
    dispatch = Dispatch(
        backend,
        parallelism=1,
        on_handle=lambda one, handle: None,
        cancel_seconds=seconds_to_end(backend),
    )
    try:
        next(dispatch.run([attempt(0)]))
        assert publisher.asked.wait(20)
        yield backend, dispatch
    finally:
        publisher.over.set()


def test_what_cannot_be_published_in_time_comes_before_the_session_leaves() -> None:
    with publishing(Hanging()) as (_, dispatch):
        ended = dispatch.cancel()

    assert [one.key for one, _ in ended] == ["run-0.1"]
    assert "not published yet" in (ended[0][1].result.error_message or "")


def test_what_a_backend_says_of_its_end_holds_where_it_is_published_too() -> None:
    with publishing(Hanging()) as (backend, _):
        one: Attempt = attempt(0)

        assert seconds_to_end(backend) == 1.0
        assert "pytest --resume collects" in left_behind([one], backend)

    assert seconds_to_end(Shop(iter([]))) == 6.0
    assert "--resume" not in left_behind([one], Shop(iter([])))


def test_a_cancelled_session_waits_for_no_storage_when_it_closes() -> None:
    with publishing(Hanging()) as (backend, dispatch):
        dispatch.cancel()
        closing = threading.Thread(target=backend.close, daemon=True)
        closing.start()
        closing.join(20)

        assert not closing.is_alive()
