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
    """One entry a source line of experiment modules, however often the line is passed.

    A line is told by its file, as Python calls it, and its number.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty; ``clock`` gives seconds and need only run forward."""
        self._clock = clock
        self._lines: dict[tuple[str, int], _Line] = {}
        self._passed = _Line()

    def passing(self, path: str, lineno: int) -> bool:
        """Count a passed assertion and return whether its values are worth putting into words."""
        line = self._lines.get((path, lineno))
        if line is None:
            line = self._lines[path, lineno] = _Line()
        line.count += 1
        if line.explained < FREE_EXPLANATIONS:
            line.explained += 1
        else:
            now = self._clock()
            if now < line.next_at:
                return False
            line.next_at = now + INTERVAL_SECONDS
        self._passed = line
        return True

    def explain(self, source: str, explanation: str) -> None:
        """Keep the words for the pass that ``passing`` has just asked for; drop all others.

        Others come from ordinary modules, where the user has switched on pytest's hook.
        """
        line, self._passed = self._passed, _Line()
        line.source = source
        line.first = line.first or explanation
        line.last = explanation

    def fail(self, path: str, lineno: int, source: str, explanation: str) -> tuple[Assertion, ...]:
        """Return all entries, with the one of the line (or a new one) not met."""
        line = self._lines.setdefault((path, lineno), _Line())
        line.count += 1
        line.source = line.source or source
        line.first = line.first or explanation
        line.last = explanation
        return self.entries(failed=(path, lineno))

    def entries(self, *, failed: tuple[str, int] | None = None) -> tuple[Assertion, ...]:
        """Return what is known, by file, in order of line."""
        return tuple(
            Assertion(
                line=key[1],
                source=line.source,
                met=key != failed,
                count=line.count,
                first=line.first,
                last=line.last,
            )
            for key, line in sorted(self._lines.items(), key=lambda entry: entry[0])
        )

    def clear(self) -> None:
        """Forget everything; a new run begins."""
        self._lines.clear()
        self._passed = _Line()


# Rewritten modules can reach nothing but a global; a process executes one run at a time.
CURRENT = AssertionLog()
