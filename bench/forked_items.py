"""A conftest.py: each test in a forked child, two at a time; its exit code is all that it says."""

from __future__ import annotations

import gc
import os

import pytest

# As a snapshot does: threads of an import would be missing in a child, which then hangs.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Fork a child an item that runs pytest's protocol and leaves with whether it passed."""
    gc.collect()
    gc.freeze()
    flying: dict[int, pytest.Item] = {}
    for item in session.items:
        if len(flying) == 2:
            _reap(flying)
        pid = os.fork()
        if not pid:
            code = 1
            try:
                item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
                code = int(bool(session.testsfailed))
            finally:
                os._exit(code)
        flying[pid] = item
    while flying:
        _reap(flying)
    return True


def _reap(flying: dict[int, pytest.Item]) -> None:
    pid, waitstatus = os.wait()
    item = flying.pop(pid)
    report = pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome="failed" if waitstatus else "passed",
        longrepr=None,
        when="call",
    )
    item.ihook.pytest_runtest_logreport(report=report)
