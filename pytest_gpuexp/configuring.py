"""What options come to, read from command line, environment and ini, in that order."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.gpus import visible_gpus
from pytest_gpuexp.options import destination
from pytest_gpuexp.overrides import Overrides, parse_overrides
from pytest_gpuexp.settings import Isolation, Settings
from pytest_gpuexp.tiers import find_tier, parse_duration


def read_settings(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the session's settings; the command line outranks the environment, that the ini.

    Raises:
        UsageProblems: values that make no sense, all of them.
    """
    problems: list[str] = []

    def value(name: str) -> str | None:
        given = config.getoption(destination(name), None)
        given = (
            given
            or environ.get(f"PYTEST_{destination(name).upper()}")
            or config.getini(destination(name))
        )
        return cast(str | None, given or None)

    parallelism = _read_parallelism(value("parallelism"), problems)
    isolation = value("isolation") or "auto"
    if isolation not in ("auto", "fork", "spawn"):
        problems.append(f"isolation: {isolation!r} is not auto, fork or spawn")
    timeout = gpu = None
    try:
        text = value("run-timeout")
        timeout = parse_duration(text) if text else None
    except UsageProblems as error:
        problems += [f"run-timeout: {problem}" for problem in error.problems]
    try:
        gpu = value("gpu")
        gpu = find_tier(gpu).name if gpu else None
    except UsageProblems as error:
        problems += [f"gpu: {problem}" for problem in error.problems]
    if problems:
        raise UsageProblems("pytest-gpuexp options", problems)
    backend, reason = _backend(config, value("backend"))
    return Settings(
        backend=backend,
        reason=reason,
        gpu=gpu,
        parallelism=parallelism,
        isolation=cast(Isolation, isolation),
        storage=value("storage") or "results",
        run_timeout=timeout,
        stub=bool(config.getoption("gpuexp_stub_mode", False)),
        dry_run=bool(config.getoption("gpuexp_dry_run", False)),
        root=Path(config.rootpath),
        invocation_dir=Path(config.invocation_params.dir),
        gpus=visible_gpus(environ),
        cores=_cores(),
    )


def read_overrides(config: pytest.Config) -> Overrides:
    """Return what the command line says of sweeps.

    Raises:
        UsageProblems: what cannot be read, all of it.
    """
    option = config.option
    return parse_overrides(
        option.gpuexp_seeds, option.gpuexp_seed, option.gpuexp_sweep, option.gpuexp_filter
    )


def _read_parallelism(text: str | None, problems: list[str]) -> int | None:
    if text is None or text == "auto":
        return None
    if text.isdigit() and int(text) > 0:
        return int(text)
    problems.append(f"parallelism: {text!r} is not a number above 0 or 'auto'")
    return None


def _backend(config: pytest.Config, asked: str | None) -> tuple[str, str]:
    """Return the backend and why it is not the default one."""
    if asked is not None:
        return asked.replace("_", "-"), ""
    if config.getoption("usepdb", False) or config.getoption("trace", False):
        return "in-process", "a debugger needs the session's own process"
    if config.getoption("capture", None) == "no":
        return "in-process", "-s shows output as it comes"
    if "pydevd" in sys.modules or "debugpy" in sys.modules:
        return "in-process", "a debugger is attached"
    return "local", ""


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
