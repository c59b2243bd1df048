"""When a session stops before its last run."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_gpuexp.records import Attempt


def stop_where_asked(session: pytest.Session) -> None:
    """Raise what pytest's own loop would raise after a test.

    Raises:
        pytest.Session.Failed: ``-x`` or ``--maxfail`` has its failures.
        pytest.Session.Interrupted: a plugin asked the session to stop.
    """
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)


def seconds_to_end(backend: str) -> float:
    """Return how long what is cancelled may take to end."""
    # A process gets its grace and is killed; Modal ends what it was asked to, or is not there.
    return 3.5 if backend == "modal" else 6.0


def left_behind(attempts: Iterable[Attempt], backend: str) -> str:
    """Return what to say of ``attempts`` that did not end in time."""
    keys = ", ".join(sorted(attempt.key for attempt in attempts))
    told = f"these attempts did not end in time and have no record: {keys}"
    if backend == "modal":
        told += "; they may go on there, and pytest --resume collects what they give"
    return told
