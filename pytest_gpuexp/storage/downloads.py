"""How the bytes of one object come into a file, several parts at a time where it is large."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pytest_gpuexp.storage.refusals import BrokenOff, is_passing, read_refusal
from pytest_gpuexp.storage.signed_requests import Answer

Ask = Callable[[dict[str, str]], Answer]

_PART = 8 << 20
_THREADS = 6
_TRIES = 3  # of a part, before the whole object is asked for again
_NOTHING_THERE = 416


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What has come: how many bytes of how many, their sha256, and what was told of the object."""

    size: int
    length: int
    sha256: str
    answer: Answer


def fetch(ask: Ask, path: Path) -> Fetched:
    """Write the object to ``path``; ``ask`` gets it with the headers that it is given, streamed.

    Each part is a request of its own, as a connection alone is slow to many servers.

    Raises:
        BrokenOff: a part is of another object, which has taken the place of the first.
    """
    try:
        first = ask(_range(0))
    except Exception as error:
        refusal = read_refusal(error)
        if refusal is None or refusal.status != _NOTHING_THERE:
            raise
        first = ask({})  # an empty object has no first byte
    with path.open("wb") as file, ThreadPoolExecutor(_THREADS, "gpuexp-part") as pool:
        digest, size = hashlib.sha256(), 0
        for block in _blocks(_Parts(ask, first, file), first, pool):
            digest.update(block)
            size += len(block)
    return Fetched(size=size, length=_total(first), sha256=digest.hexdigest(), answer=first)


def _blocks(parts: _Parts, first: Answer, pool: ThreadPoolExecutor) -> Iterator[bytes]:
    """Yield what has been written, in order; no more is held than is asked for at once."""
    end = _total(first) if "Content-Range" in first.headers else 0
    starts = iter(range(_PART, end, _PART))
    ahead = deque(pool.submit(parts.bring, start) for start in islice(starts, _THREADS))
    yield from parts.write(first, 0)
    while ahead:
        blocks = ahead.popleft().result()
        ahead.extend(pool.submit(parts.bring, start) for start in islice(starts, 1))
        yield from blocks


class _Parts:
    """The parts of one object, each on its way into ``file``."""

    def __init__(self, ask: Ask, first: Answer, file: BinaryIO) -> None:
        self._ask = ask
        self._etag = first.headers.get("ETag", "")
        self._file = file
        self._turn = threading.Lock()

    def bring(self, start: int) -> list[bytes]:
        for _ in range(_TRIES - 1):
            try:
                return self._bring(start)
            except Exception as error:
                if not is_passing(error):
                    raise
        return self._bring(start)

    def _bring(self, start: int) -> list[bytes]:
        answer = self._ask(_range(start))
        if answer.headers.get("ETag", "") != self._etag:
            raise BrokenOff("the object was replaced while it was read")
        blocks = list(self.write(answer, start))
        if sum(map(len, blocks)) != answer.length:
            raise BrokenOff("a part of the object broke off")
        return blocks

    def write(self, answer: Answer, start: int) -> Iterator[bytes]:
        for block in answer.blocks:
            with self._turn:
                self._file.seek(start)
                self._file.write(block)
            start += len(block)
            yield block


def _range(start: int) -> dict[str, str]:
    return {"Range": f"bytes={start}-{start + _PART - 1}"}


def _total(answer: Answer) -> int:
    """Return the size of the whole object; a server that knows no ranges sends it all."""
    told = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(told) if told.isdecimal() else answer.length
