"""A few threads that bring large files home, and that no process waits for at its end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

from pytest_gpuexp.records import Outcome

_Work = tuple[Future[Outcome], Callable[[], Outcome]]


class Fetching:
    """Does what it is given, so much of it at once.

    Python waits for the threads of an executor before it ends, and a download that hangs would keep
    a session that was interrupted.
    """

    def __init__(self, threads: int) -> None:
        """Start at most ``threads``, with the first that are needed."""
        self._most = threads
        self._threads: list[threading.Thread] = []
        self._work: queue.SimpleQueue[_Work] = queue.SimpleQueue()

    def submit(self, work: Callable[[], Outcome]) -> Future[Outcome]:
        """Return what ``work`` will give, or raise."""
        future: Future[Outcome] = Future()
        self._work.put((future, work))
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._serve, name="gpuexp-fetch", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def _serve(self) -> None:
        while True:
            future, work = self._work.get()
            try:
                future.set_result(work())
            # Whatever it is, it is the caller's, who asks for the result.
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)
