"""A few threads that carry files, and that no process waits for at its end."""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Carrying(Executor):
    """Does what it is given, so much of it at once, in ``threads``.

    Python waits for the threads of its own executors before it ends, and an upload that hangs would
    keep a session that was interrupted.
    """

    def __init__(self, threads: int, *, name: str) -> None:
        """Start at most ``threads``, with the first that are needed."""
        self._most = threads
        self._name = name
        self._lock = threading.Lock()
        self._closed = False
        self._left: set[Future[Any]] = set()
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._work = queue.SimpleQueue()
        self.threads: list[threading.Thread] = []

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Return what ``work`` will give, or raise.

        Raises:
            RuntimeError: it is closed.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("it is closed, and carries nothing more")
            self._left.add(future)
            self._work.put((future, functools.partial(work, *args, **kwargs)))
            if len(self.threads) < self._most:
                thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self.threads.append(thread)
                thread.start()
        future.add_done_callback(self._left.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close, and wait for what is under way or not; what waits is never begun."""
        self.close(seconds=None if wait else 0.0)

    def close(self, *, seconds: float | None = 0.0) -> None:
        """Begin nothing more; wait ``seconds`` for what is under way, with None to its end."""
        with self._lock:
            self._closed = True
            left = list(self._left)
        under_way = [future for future in left if not future.cancel()]
        for _ in self.threads:
            self._work.put(None)
        wait(under_way, timeout=seconds)

    def _serve(self) -> None:
        while (given := self._work.get()) is not None:
            future, work = given
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            # Whatever it is, it is the caller's, who asks for the result.
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)
