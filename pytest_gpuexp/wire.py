"""JSON messages, one a line, over a socket."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator, Mapping
from typing import Any

Message = dict[str, Any]


class Channel:
    """One end of a connection between two processes of a session."""

    def __init__(self, end: socket.socket) -> None:
        """Talk over ``end``, which stays blocking for what is sent."""
        self.socket = end
        self._buffer = bytearray()
        self.closed = False

    def fileno(self) -> int:
        """Return the socket's descriptor, so that selectors take a channel."""
        return self.socket.fileno()

    def send(self, message: Mapping[str, Any]) -> bool:
        """Send ``message`` whole; return False where the other end is gone.

        What is no JSON value goes as its repr: a property of a report can be anything.
        """
        return self.send_line(json.dumps(message, default=repr).encode())

    def send_line(self, line: bytes) -> bool:
        """Send a message that is JSON already; return False where the other end is gone."""
        try:
            self.socket.sendall(line + b"\n")
        except OSError:
            return False
        return True

    def send_hearing(self, message: Mapping[str, Any]) -> bool:
        """Send ``message``, and keep for ``pending`` what arrives while the other end is busy.

        Where both ends only sent, each would wait for ever until the other reads.
        """
        rest = memoryview(json.dumps(message, default=repr).encode() + b"\n")
        try:
            while rest:
                try:
                    rest = rest[self.socket.send(rest, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    if select.select([self.socket], [self.socket], [])[0]:
                        self._read()
        except OSError:
            return False
        return True

    def receive(self) -> Iterator[Message]:
        """Read once, waiting for it, and yield the messages that are whole."""
        self._read()
        yield from self.pending()

    def receive_lines(self) -> Iterator[bytes]:
        """Read once, waiting for it, and yield the messages that are whole as JSON."""
        self._read()
        yield from self._lines()

    def _read(self) -> None:
        try:
            block = self.socket.recv(1 << 20)
        except (ConnectionResetError, OSError):
            block = b""
        if not block:
            self.closed = True
        self._buffer += block

    def pending(self) -> Iterator[Message]:
        """Yield the messages that were read together with an earlier one."""
        for line in self._lines():
            yield json.loads(line)

    def _lines(self) -> Iterator[bytes]:
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            yield line

    def drain(self) -> Iterator[bytes]:
        """Yield the messages that have already arrived as JSON, without waiting."""
        self.socket.setblocking(False)
        try:
            while not self.closed:
                try:
                    block = self.socket.recv(1 << 20)
                except BlockingIOError:
                    break
                except OSError:
                    block = b""
                self.closed = not block
                self._buffer += block
        finally:
            self.socket.setblocking(True)
        yield from self._lines()

    def wait(self) -> Message | None:
        """Return the next message, or None where the other end is gone; the rest stays pending."""
        for message in self.pending():
            return message
        while not self.closed:
            for message in self.receive():
                return message
        return None

    def close(self) -> None:
        """Give up this end."""
        self.socket.close()
