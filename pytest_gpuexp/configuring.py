"""What options come to, read from command line, environment and ini, in that order."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from pytest_gpuexp import asked
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.gpus import visible_gpus
from pytest_gpuexp.options import destination
from pytest_gpuexp.overrides import Overrides, parse_overrides
from pytest_gpuexp.project import read_project
from pytest_gpuexp.settings import Isolation, Settings
from pytest_gpuexp.tiers import TIERS, Tier, find_tier, parse_duration

T = TypeVar("T")
_MODAL_PARALLELISM = 10  # the GPUs that a new account may use at once
_FALSE = {"0", "false", "no", "off"}


def read_options(
    config: pytest.Config, environ: Mapping[str, str] = os.environ
) -> tuple[Settings, Overrides]:
    """Return the session's settings, and what its command line says of sweeps.

    For settings the command line outranks the environment, that the ini.

    Raises:
        UsageProblems: values that make no sense, all of them.
    """
    problems: list[str] = []
    settings = _read_settings(config, environ, problems)
    option, overrides = config.option, Overrides()
    try:
        overrides = parse_overrides(
            option.gpuexp_seeds, option.gpuexp_seed, option.gpuexp_sweep, option.gpuexp_filter
        )
    except UsageProblems as error:
        problems += error.problems
    if problems:
        raise UsageProblems("pytest-gpuexp options", problems)
    return settings, overrides


def _read_settings(
    config: pytest.Config, environ: Mapping[str, str], problems: list[str]
) -> Settings:
    value = partial(asked.asked_for, config, environ=environ)
    stub = bool(config.getoption("gpuexp_stub_mode", False))
    resume = _read_resume(value("resume"), problems)
    if not resume:
        problems += _resume_only(config)
    backend, reason = asked.backend(config, environ)
    timeout = _read("run-timeout", value, parse_duration, problems)
    lease = _read("lease", value, parse_duration, problems)
    root = Path(config.rootpath)
    tiers: Mapping[str, Tier] = TIERS
    try:
        tiers = read_project(root).tiers
    except UsageProblems as error:
        problems += [f"{error.subject}: {problem}" for problem in error.problems]
    tier = _read("gpu", value, partial(find_tier, tiers=tiers), problems)
    return Settings(
        backend=backend,
        reason=reason,
        gpu=tier.name if tier else None,
        parallelism=_read_parallelism(value("parallelism"), problems),
        isolation=_read_isolation(value("isolation"), problems),
        storage=value("storage") or "results",
        run_timeout=timeout,
        lease_seconds=lease or Settings().lease_seconds,
        stub=stub,
        dry_run=bool(config.getoption("gpuexp_dry_run", False)),
        resume=resume and not stub,
        any_code=bool(config.getoption("gpuexp_any_code", False)),
        rerun=config.getoption("gpuexp_rerun", None),
        root=root,
        tiers=tiers,
        budget=_read_budget(value("budget"), problems),
        detach=_modal_flag(config, "detach", backend, problems),
        modal_ephemeral=_modal_flag(config, "modal-ephemeral", backend, problems),
        invocation_dir=Path(config.invocation_params.dir),
        gpus=visible_gpus(environ),
        cores=_cores(),
    )


def _read(
    name: str,
    value: Callable[[str], str | None],
    parse: Callable[[str], T],
    problems: list[str],
) -> T | None:
    text = value(name)
    try:
        return parse(text) if text else None
    except UsageProblems as error:
        problems += [f"{name}: {problem}" for problem in error.problems]
        return None


def _read_budget(text: str | None, problems: list[str]) -> float | None:
    try:
        budget = float(text.removeprefix("$")) if text else None
    except ValueError:
        budget = -1.0
    if budget is not None and not 0 <= budget < float("inf"):
        problems.append(f"budget: {text!r} is not a number of dollars")
        return None
    return budget


def _modal_flag(config: pytest.Config, name: str, backend: str, problems: list[str]) -> bool:
    given = bool(config.getoption(destination(name), False))
    if given and backend != "modal":
        problems.append(f"--{name} speaks of runs on Modal; add --backend=modal")
    if given and name == "detach" and config.getoption("numprocesses", None):
        problems.append("--detach starts all runs from one session; leave out -n")
    return given


def _read_resume(given: str | bool | None, problems: list[str]) -> bool:
    word = str(given or "false").lower()
    if word not in asked.TRUE | _FALSE:
        problems.append(f"resume: {given!r} is not true or false")
    return word in asked.TRUE


def _resume_only(config: pytest.Config) -> list[str]:
    """Return what the command line asks for that only ``--resume`` can give."""
    given = {
        "--any-code": config.getoption("gpuexp_any_code", False),
        "--rerun": config.getoption("gpuexp_rerun", None),
    }
    return [
        f"{name} says which stored results to keep, and without --resume none is; add --resume"
        for name, value in given.items()
        if value
    ]


def _read_isolation(text: str | None, problems: list[str]) -> Isolation:
    if text in (None, "auto", "fork", "spawn"):
        return cast(Isolation, text or "auto")
    problems.append(f"isolation: {text!r} is not auto, fork or spawn")
    return "auto"


def _read_parallelism(text: str | None, problems: list[str]) -> int | None:
    if text is None or text == "auto":
        return None
    if text.isdigit() and int(text) > 0:
        return int(text)
    problems.append(f"parallelism: {text!r} is not a number above 0 or 'auto'")
    return None


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def xdist_workers(config: pytest.Config) -> Mapping[int, Any]:
    """Return xdist's workers by number; {} where tests are not distributed."""
    if hasattr(config, "workerinput"):
        return dict.fromkeys(range(config.workerinput["workercount"]))
    return dict(enumerate(config.option.tx)) if asked.is_distributed(config) else {}


def parallelism_of(config: pytest.Config, settings: Settings) -> int:
    """Return how many runs are executed at once; an xdist worker does one after the other."""
    if hasattr(config, "workerinput") or settings.backend == "in-process":
        return 1
    if settings.backend == "modal":
        return settings.parallelism or _MODAL_PARALLELISM
    return settings.parallelism or len(settings.gpus) or settings.cores
