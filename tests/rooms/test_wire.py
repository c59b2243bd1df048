"""Messages between two processes of a session."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.wire import Channel

_MESSAGES = st.lists(st.dictionaries(st.text(), st.text() | st.integers()), max_size=6)


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = socket.socketpair()
    pair = Channel(ours), Channel(theirs)
    yield pair
    for channel in pair:
        channel.close()


@given(messages=_MESSAGES, cuts=st.lists(st.integers(min_value=1, max_value=30), max_size=30))
def test_messages_arrive_whole_and_in_order_however_they_are_cut(
    messages: list[dict[str, object]], cuts: list[int]
) -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(ours), Channel(theirs)
    collected = socket.socketpair()
    middle = Channel(collected[0])
    for message in messages:
        middle.send(message)
    collected[0].close()
    stream = b"".join(iter(lambda: collected[1].recv(1 << 16), b""))
    collected[1].close()

    received = []
    for cut in cuts:
        piece, stream = stream[:cut], stream[cut:]
        if piece:
            ours.sendall(piece)
            received += list(receiver.receive())
    ours.sendall(stream)
    sender.close()
    while not receiver.closed:
        received += list(receiver.receive())
    receiver.close()

    assert received == messages


def test_a_message_larger_than_the_sockets_buffer_arrives(ends: tuple[Channel, Channel]) -> None:
    large = {"text": "x" * 5_000_000}
    sender = threading.Thread(target=ends[0].send, args=(large,))

    sender.start()
    received = ends[1].wait()
    sender.join()

    assert received == large


def test_an_end_that_is_gone_is_told_and_not_raised(ends: tuple[Channel, Channel]) -> None:
    ends[1].close()

    assert ends[0].send({"a": 1}) is False
    assert ends[0].wait() is None
    assert ends[0].closed


def test_what_came_before_the_other_end_left_is_still_read(ends: tuple[Channel, Channel]) -> None:
    ends[0].send({"a": 1})
    ends[0].send({"a": 2})
    ends[0].close()

    assert ends[1].wait() == {"a": 1}
    assert ends[1].wait() == {"a": 2}
    assert ends[1].wait() is None


def test_draining_takes_what_is_there_and_does_not_wait(ends: tuple[Channel, Channel]) -> None:
    assert list(ends[1].drain()) == []
    ends[0].send({"a": 1})
    ends[0].socket.sendall(b'{"torn')

    assert list(ends[1].drain()) == [b'{"a": 1}']


def test_a_value_that_is_no_json_goes_as_its_words(ends: tuple[Channel, Channel]) -> None:
    ends[0].send({"a": {1}})

    assert ends[1].wait() == {"a": "{1}"}


def test_ends_that_send_to_each_other_at_once_do_not_wait_for_ever(
    ends: tuple[Channel, Channel],
) -> None:
    large = {"text": "x" * 3_000_000}
    other = threading.Thread(target=ends[1].send, args=(large,))
    answers: list[object] = []
    reader = threading.Thread(target=lambda: answers.append(ends[1].wait()))

    other.start()
    sender = threading.Thread(target=ends[0].send_hearing, args=(large,), daemon=True)
    sender.start()
    other.join(20)
    reader.start()
    sender.join(20)
    reader.join(20)

    assert answers == [large]
    assert ends[0].wait() == large
