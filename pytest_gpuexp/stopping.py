"""The request to stop that a run gets some time before it is ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from pytest_gpuexp.records import Status

_REASONS: Mapping[int, Status] = {signal.SIGTERM: "preempted", signal.SIGINT: "cancelled"}


def _nothing(_: Status) -> None:
    pass


class Stopping:
    """What SIGTERM and SIGINT are to a handler that looks for them; to all others they are an end.

    ``reason`` is the status that the run gets where it heeds the request, None without one.
    """

    def __init__(
        self,
        *,
        why: Callable[[], Status | None] = lambda: None,
        on_signal: Callable[[Status], object] = _nothing,
    ) -> None:
        """Change nothing until the first look.

        ``why`` gives the reason of whoever has sent the signal, None where they told none: then the
        signal came from outside, and ``on_signal`` is called.
        """
        self.reason: Status | None = None
        self._why = why
        self._on_signal = on_signal
        self._seen = False
        self._pid = 0
        self._before: dict[int, Any] = {}

    def look(self) -> bool:
        """Return whether the run is asked to stop; from the first look on it is asked first."""
        if not self._pid:
            self._pid = os.getpid()
            self._listen()
        self._seen = self.reason is not None
        return self._seen

    def heeded(self, status: Status) -> bool:
        """Return whether a run that ended in ``status`` did so because it was asked to.

        One that never saw the request, and came to its end all the same, is complete.
        """
        return self._seen or (self.reason is not None and status not in ("completed", "skipped"))

    def release(self) -> None:
        """Let signals mean again what they meant."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _listen(self) -> None:
        for number in _REASONS:
            try:
                self._before[number] = signal.signal(number, self._hear)
            except ValueError:  # only the main thread may listen
                return

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a process that the handler has forked: it is not asked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.reason is None:
            told = self._why()
            self.reason = told or _REASONS[number]
            if told is None:
                self._on_signal(self.reason)
        elif callable(self._before[number]):  # Ctrl-C for the second time
            self._before[number](number, frame)
