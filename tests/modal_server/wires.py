"""What ties the server to the process of a container: its output, and its end."""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from modal_proto import api_pb2

from tests.modal_server import world

_MOST = 1 << 16
_OUTPUTS = (api_pb2.FILE_DESCRIPTOR_STDOUT, api_pb2.FILE_DESCRIPTOR_STDERR)


def pipe(container: world.Container, fd: int) -> Path:
    """Return the named pipe that a container's output goes to.

    It outlives the server: what is written meanwhile waits in it for the server that follows.
    """
    return Path(container.folder, str(fd))


class Wire:
    """Tells when a container has written something, and when it has ended; nothing is polled."""

    def __init__(
        self,
        container: world.Container,
        on_output: Callable[[world.Container], None],
        on_end: Callable[[world.Container], None],
    ) -> None:
        """Call ``on_output`` and ``on_end`` from now on.

        Raises:
            ProcessLookupError: the process is gone.
        """
        self._process = os.pidfd_open(container.pid)
        # With a writing end of its own, the server is not told again and again that none is left.
        self._pipes = {
            fd: os.open(pipe(container, fd), os.O_RDWR | os.O_NONBLOCK) for fd in _OUTPUTS
        }
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {fd: decoder(errors="replace") for fd in _OUTPUTS}
        self._begun = dict.fromkeys(_OUTPUTS, "")
        loop = asyncio.get_running_loop()
        loop.add_reader(self._process, on_end, container)
        for each in self._pipes.values():
            loop.add_reader(each, on_output, container)

    def written(self, *, all_: bool) -> Iterator[tuple[api_pb2.FileDescriptor.ValueType, str]]:
        """Give the lines that were written since; ``all_``: one that has not ended, too."""
        for fd, each in self._pipes.items():
            while content := _read(each):
                self._begun[fd] += self._decoders[fd].decode(content)
            lines = self._begun[fd].splitlines(keepends=True)
            is_open = bool(lines) and not all_ and not lines[-1].endswith("\n")
            self._begun[fd] = lines.pop() if is_open else ""
            yield from ((fd, line) for line in lines)

    def cut(self) -> None:
        """Be told no more."""
        loop = asyncio.get_running_loop()
        for each in (self._process, *self._pipes.values()):
            loop.remove_reader(each)
            os.close(each)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _MOST)
    except BlockingIOError:
        return b""
