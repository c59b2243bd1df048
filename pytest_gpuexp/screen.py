"""What is used of the terminal that pytest writes to."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """What is used of pytest's TerminalReporter: public methods only."""

    @property
    def verbosity(self) -> int:
        """Return the difference of the ``-v`` and the ``-q``."""
        ...

    @property
    def no_summary(self) -> bool:
        """Return whether ``--no-summary`` was given."""
        ...

    def ensure_newline(self) -> None:
        """End the line that the reporter has begun."""
        ...

    def write(self, content: str, *, flush: bool = False, **markup: bool) -> None:
        """Write ``content``, coloured where the terminal has colours."""
        ...

    def write_raw(self, content: str, *, flush: bool = False) -> None:
        """Write ``content`` as it is."""
        ...

    def write_sep(self, sep: str, title: str | None = None, **markup: bool) -> None:
        """Write a line of ``sep`` around ``title``."""
        ...


class Writer(Protocol):
    """What is used of pytest's TerminalWriter (``config.get_terminal_writer()``)."""

    hasmarkup: bool

    @property
    def fullwidth(self) -> int:
        """Return how wide lines are, in columns."""
        ...

    @property
    def width_of_current_line(self) -> int:
        """Return how much of the last line is written, in columns."""
        ...
