"""Whether a session that has met an experiment will run it on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from pytest_gpuexp.asked import foresees_local_runs
from tests.rooms.test_configuring import Config

USUAL = {"collectonly": False, "gpuexp_dry_run": False}


def foresees(environ: Mapping[str, str] | None = None, **given: Any) -> bool:
    config = cast(pytest.Config, Config({**USUAL, **given}, {}))
    return foresees_local_runs(config, environ or {})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"gpuexp_backend": "local", "usepdb": True},
        {"gpuexp_resume": False},
        {"dist": "no"},
    ],
)
def test_runs_on_this_machine_are_foreseen(given: Mapping[str, Any]) -> None:
    assert foresees(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"collectonly": True},
        {"gpuexp_dry_run": True},
        {"gpuexp_resume": True},
        {"gpuexp_backend": "modal"},
        {"usepdb": True},
        {"capture": "no"},
        {"dist": "load"},
    ],
)
def test_what_plans_judges_keeps_or_runs_elsewhere_needs_no_worker(
    given: Mapping[str, Any],
) -> None:
    assert not foresees(**given)


def test_the_environment_counts_too() -> None:
    assert not foresees({"PYTEST_GPUEXP_BACKEND": "in_process"})
    assert not foresees({"PYTEST_GPUEXP_RESUME": "yes"})
    assert foresees({"PYTEST_GPUEXP_RESUME": "no"})
