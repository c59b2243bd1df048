"""What the assertions of the run in progress have shown so far."""

from __future__ import annotations

import time
from collections.abc import Callable

from pytest_gpuexp.records import Assertion

# A loop of assertions pays for the text of its values this often, then at most once an interval.
FREE_EXPLANATIONS = 1000
INTERVAL_SECONDS = 0.01


class _Line:
    __slots__ = ("count", "explained", "first", "last", "next_at", "source")

    def __init__(self) -> None:
        self.count = 0
        self.explained = 0
        self.next_at = 0.0
        self.source = ""
        self.first = ""
        self.last = ""


class AssertionLog:
    """One entry a source line of experiment modules, however often the line is passed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty; ``clock`` gives seconds and need only run forward."""
        self._clock = clock
        self._lines: dict[int, _Line] = {}

    def passing(self, lineno: int) -> bool:
        """Count a passed assertion and return whether its values are worth putting into words."""
        line = self._lines.get(lineno)
        if line is None:
            line = self._lines[lineno] = _Line()
        line.count += 1
        if line.explained < FREE_EXPLANATIONS:
            line.explained += 1
            return True
        now = self._clock()
        if now < line.next_at:
            return False
        line.next_at = now + INTERVAL_SECONDS
        return True

    def explain(self, lineno: int, source: str, explanation: str) -> None:
        """Keep the words for the pass that ``passing`` has just counted."""
        line = self._lines.setdefault(lineno, _Line())
        line.source = source
        line.first = line.first or explanation
        line.last = explanation

    def fail(self, lineno: int, source: str, explanation: str) -> tuple[Assertion, ...]:
        """Return all entries, with the one of ``lineno`` (or a new one) not met."""
        line = self._lines.setdefault(lineno, _Line())
        line.count += 1
        line.source = line.source or source
        line.first = line.first or explanation
        line.last = explanation
        return self.entries(failed=lineno)

    def entries(self, *, failed: int | None = None) -> tuple[Assertion, ...]:
        """Return what is known, in order of line."""
        return tuple(
            Assertion(
                line=lineno,
                source=line.source,
                met=lineno != failed,
                count=line.count,
                first=line.first,
                last=line.last,
            )
            for lineno, line in sorted(self._lines.items())
        )

    def clear(self) -> None:
        """Forget everything; a new run begins."""
        self._lines.clear()


# Rewritten modules can reach nothing but a global; a process executes one run at a time.
CURRENT = AssertionLog()
