"""For how long a failing server is asked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_WAIT = 0.2
_LONGEST_WAIT = 5.0
_TOLD_AFTER = 2.0


class Patience:
    """Asks again, with growing and jittered waits, until a deadline.

    Once it has given up, it asks only once each time, until something succeeds again: a hundred
    uploads do not each wait for a server that is gone. Threads may share it.
    """

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
        on_wait: Callable[[Exception], object] = lambda error: None,
    ) -> None:
        """Go on for ``seconds`` by ``clock``; ``jitter`` gives numbers from 0 to 1.

        ``on_wait`` learns once of each time that nothing succeeds for longer than two seconds.
        """
        self._on_wait = on_wait
        self._told = False
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._gone = False

    def call(self, action: Callable[[], T], *, passing: Callable[[Exception], bool]) -> T:
        """Return what ``action`` gives; an error that is ``passing`` lets it be called again."""
        began, wait = self._clock(), _FIRST_WAIT
        while True:
            try:
                result = action()
            except Exception as error:
                if not passing(error):
                    raise
                pause = wait * (0.5 + self._jitter() / 2)
                lasted = self._clock() - began
                if self._gone or lasted + pause > self._seconds:
                    self._gone = True
                    raise
                if lasted + pause > _TOLD_AFTER and not self._told:
                    self._told = True
                    self._on_wait(error)
                self._sleep(pause)
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                self._gone = self._told = False
                return result

    def lose(self) -> None:
        """Ask only once from now on, until something succeeds."""
        self._gone = True
