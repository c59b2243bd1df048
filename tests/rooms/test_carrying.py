"""A few threads that carry files, and that no process waits for at its end."""

from __future__ import annotations

import threading
import time

import pytest

from pytest_gpuexp.backends.carrying import Carrying


def ended(carrying: Carrying) -> bool:
    """Return whether all its threads end soon."""
    until = time.monotonic() + 20
    while any(thread.is_alive() for thread in carrying.threads) and time.monotonic() < until:
        time.sleep(0.01)
    return not any(thread.is_alive() for thread in carrying.threads)


def test_it_gives_what_work_gives_or_raises() -> None:
    carrying = Carrying(2, name="trying")

    good, bad = carrying.submit(pow, 2, 3), carrying.submit(int, "x")

    assert good.result(20) == 8
    with pytest.raises(ValueError, match="'x'"):
        bad.result(20)
    carrying.close()


def test_its_threads_end_when_it_is_closed_and_it_takes_no_more() -> None:
    carrying = Carrying(3, name="trying")
    for number in range(5):
        carrying.submit(pow, number, 2).result(20)

    carrying.close()

    assert len(carrying.threads) == 3
    assert ended(carrying)
    with pytest.raises(RuntimeError, match="closed"):
        carrying.submit(int)


def test_closing_waits_no_longer_than_told_and_begins_nothing() -> None:
    carrying, begun, over = Carrying(1, name="trying"), threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return over.wait(60)

    under_way, waiting = carrying.submit(work), carrying.submit(int)
    assert begun.wait(20)

    carrying.close(seconds=0.1)

    assert not under_way.done()
    assert waiting.cancelled()
    over.set()
    assert under_way.result(20)
    assert ended(carrying)


def test_closing_without_a_limit_waits_for_what_is_under_way() -> None:
    carrying, begun = Carrying(1, name="trying"), threading.Event()

    def work() -> str:
        begun.set()
        time.sleep(0.2)
        return "there"

    under_way = carrying.submit(work)
    assert begun.wait(20)

    carrying.close(seconds=None)

    assert under_way.done()
