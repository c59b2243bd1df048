"""What a worker must be told to become the same pytest as its controller."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp.settings import Settings

# What only the controller does: showing, selecting, debugging, writing reports, distributing.
_OURS_ALONE: Mapping[str, Any] = {
    "capture": "no",  # the child's output goes to its log by file descriptor
    "collectonly": False,
    "dist": "no",
    "durations": None,
    "exitfirst": False,
    "failedfirst": False,
    "junitxml": None,
    "keyword": "",
    "lf": False,
    "log_file": None,
    "markexpr": "",
    "maxfail": 0,
    "maxprocesses": None,
    "newfirst": False,
    "numprocesses": None,
    "report_log": None,
    "setupplan": False,
    "stepwise": False,
    "trace": False,
    "tx": [],
    "usepdb": False,
    "verbose": 0,
    "xmlpath": None,
}
# A worker has imported us before its pytest begins; where warnings are errors, this would end it.
_KNOWN = "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning"
_PLUGINS_OFF = ("terminal", "cacheprovider", "junitxml", "stepwise", "pytest_cov", "html", "xdist")


def make_greeting(
    config: pytest.Config, settings: Settings, *, storage: Path, parallelism: int
) -> dict[str, Any]:
    """Return the first message to a worker, as JSON values."""
    options = {name: value for name, value in vars(config.option).items() if _is_json(value)}
    plugins = [*(options.get("plugins") or []), *(f"no:{name}" for name in _PLUGINS_OFF)]
    return {
        "options": {**options, **_OURS_ALONE, "plugins": plugins, "basetemp": _basetemp(config)},
        "arguments": _arguments(config),
        "sys_path": list(sys.path),
        "folder": str(settings.invocation_dir),
        "storage": str(storage),
        "provenance": "",
        "commits": True,
        "isolation": settings.isolation,
        "parallelism": parallelism,
        "gpus": list(settings.gpus),
        "grace_seconds": settings.grace_seconds,
        "every_phase": (
            config.option.durations is not None or bool(getattr(config.option, "xmlpath", None))
        ),
        "one_shot": False,
    }


def _basetemp(config: pytest.Config) -> str | None:
    """Return a folder below this session's: pytest empties the one that it is given."""
    factory = getattr(config, "_tmp_path_factory", None)
    return None if factory is None else str(factory.getbasetemp() / "runs")


def _arguments(config: pytest.Config) -> list[str]:
    """Return the paths of this session, so that the same conftests are loaded, and its root."""
    arguments = [f"--rootdir={config.rootpath}", "-W", _KNOWN]
    if config.inipath is not None:
        arguments.append(f"--config-file={config.inipath}")
    paths = dict.fromkeys(argument.partition("::")[0] for argument in config.args)
    return [*arguments, *paths]


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
