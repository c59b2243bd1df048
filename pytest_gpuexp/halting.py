"""When a session stops before its last run."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_gpuexp.protocols import Backend, outlives_session
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


def left_behind(attempts: Iterable[Attempt], backend: Backend | None) -> str:
    """Return what to say of ``attempts`` that did not end in time."""
    keys = ", ".join(sorted(attempt.key for attempt in attempts))
    told = f"these attempts did not end in time and have no record: {keys}"
    if outlives_session(backend):
        told += "; they may go on there, and pytest --resume collects what they give"
    return told
