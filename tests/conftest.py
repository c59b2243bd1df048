"""What every test of the suite can rely on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

# A worker that takes itself for a controller starts workers of its own, and so on: a fork bomb.
MOST_PROCESSES = 60


@pytest.fixture(autouse=True)
def process_guard() -> Iterator[None]:
    """Fail a test that leaves processes behind, or ever had far too many (see MOST_PROCESSES)."""
    before = _workers()

    yield

    left = _workers() - before
    for pid in left:
        _kill(pid)
    assert not left, f"the test left {len(left)} worker processes behind: {sorted(left)}"


def _workers() -> set[int]:
    """Return the pids of all processes that are workers of this plugin."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"pytest_gpuexp.worker" in command:
            found.add(int(folder.name))
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass
