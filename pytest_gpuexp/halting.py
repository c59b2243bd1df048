"""When a session stops before its last run."""

from __future__ import annotations

import pytest


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
