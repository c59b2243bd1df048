"""Attempts and results as tests of rooms need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_gpuexp import recording
from pytest_gpuexp.records import Attempt, ExperimentResult, RunSpec


def a_spec(**changes: Any) -> RunSpec:
    """Return a run of ``exp_fit`` with ``changes``."""
    spec: dict[str, Any] = {
        "experiment_id": "e1",
        "handler": "exp_fit",
        "function": "exp_fit",
        "path": "exp_e1.py",
        "name": "exp_fit[model.lr:0.1-seed:3]",
        "parameters": {"model.lr": 0.1},
        "seed": 3,
        "run_id": "exp_fit-0123456789abcdef",
    }
    return RunSpec(**{**spec, **changes})


def an_attempt(number: int = 1, **changes: Any) -> Attempt:
    """Return attempt ``number`` of ``a_spec(**changes)``."""
    return Attempt(spec=a_spec(**changes), number=number)


def a_result(folder: Path, attempt: Attempt | None = None, **changes: Any) -> ExperimentResult:
    """Return how an attempt ended whose files lie in ``folder``."""
    told: dict[str, Any] = {
        "status": "failed",
        "error_type": "SIGSEGV",
        "error_message": "killed",
        "started": 1000.0,
        "devices": (),
        "now": 1002.5,
    }
    return recording.result_without_worker(
        attempt or an_attempt(), folder=folder, **{**told, **changes}
    )
