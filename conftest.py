"""What a project's own conftest.py may tell pytest-gpuexp; this repository's does the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from pytest_gpuexp.records import RunSpec

MOST_RUNS = 20_000


# `optionalhook` lets the ordinary tests run where the plugin is not loaded (`-p no:gpuexp`).
@pytest.hookimpl(optionalhook=True)
def pytest_gpuexp_plan_made(plan: Mapping[str, Sequence[RunSpec]]) -> None:
    """Refuse a sweep that nobody meant, before its first run.

    Fixtures for handlers go into this file too, as for any other test: a handler that names one
    as a parameter gets it, in its own process.
    """
    runs = sum(map(len, plan.values()))
    if runs > MOST_RUNS:
        raise pytest.UsageError(
            f"{runs:,} runs are planned, and this project allows {MOST_RUNS:,} in one session. "
            "Narrow the sweep with --sweep, --seeds or --gpuexp-filter."
        )
