"""What a session was asked for, and whether that brings work to this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import cast

import pytest

from pytest_gpuexp.options import destination

TRUE = {"1", "true", "yes", "on"}


def asked_for(
    config: pytest.Config, name: str, environ: Mapping[str, str] = os.environ
) -> str | None:
    """Return what the setting ``name`` was given as, None where nobody gave it.

    The command line outranks the environment, that the ini file.
    """
    option = destination(name)
    given = config.getoption(option, None) or environ.get(f"PYTEST_{option.upper()}")
    return cast(str | None, given or config.getini(option) or None)


def backend(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return the backend, and why it is not the default one where nobody named it."""
    asked = asked_for(config, "backend", environ)
    if asked is not None:
        return asked.replace("_", "-"), ""
    if config.getoption("usepdb", False) or config.getoption("trace", False):
        return "in-process", "a debugger needs the session's own process"
    if config.getoption("capture", None) == "no":
        return "in-process", "-s shows output as it comes"
    if "pydevd" in sys.modules or "debugpy" in sys.modules:
        return "in-process", "a debugger is attached"
    return "local", ""


def resumes(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether results of earlier sessions are to be kept."""
    return str(asked_for(config, "resume", environ)).lower() in TRUE


def is_distributed(config: pytest.Config) -> bool:
    """Return whether this session leaves its tests to xdist's workers."""
    return not hasattr(config, "workerinput") and getattr(config.option, "dist", "no") != "no"


def foresees_local_runs(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether a session that has met an experiment will most probably run it here."""
    option = config.option
    only_plans = option.collectonly or option.gpuexp_dry_run
    only_judges = is_distributed(config)
    return backend(config, environ)[0] == "local" and not (
        only_plans or only_judges or resumes(config, environ)
    )
