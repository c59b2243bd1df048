"""Hydra apps of the user's own, whose function is run where its config says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pytest_gpuexp import cloud, composition
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import ExperimentResult

_OURS = ("run_on_modal", "backend", "gpu_type", "timeout_seconds", "storage")


def run_config(config: Any, function: Callable[..., Any]) -> ExperimentResult:
    """Run ``function`` with ``config`` in a worker, and return how that ended.

    ``run_on_modal=true`` in the config runs it on Modal, ``backend=`` on another backend; without
    them it runs on this machine. ``gpu_type``, ``timeout_seconds`` and ``storage`` are read from
    the config too, where they stand at its top. ``function`` stands at the top level of its file,
    and gets of the config what its arguments name, all of it as ``config``.

    Example, in an app::

        @hydra.main(config_path="conf", config_name="config", version_base="1.3")
        def main(cfg):
            return run_config(cfg, train).metrics.get("val_loss")

    Raises:
        UsageProblems: the config cannot be run; nothing was started.
    """
    plain = composition.to_plain(config)
    if not isinstance(plain, Mapping):
        raise UsageProblems("run_config", [f"config is a {type(config).__name__}, no mapping"])
    given = {key: value for key, value in plain.items() if key not in _OURS}
    backend = "modal" if plain.get("run_on_modal") else plain.get("backend", "local")
    runner = cloud.Runner(
        str(backend),
        storage=str(plain.get("storage", "results")),
        folder=composition.starting_folder(),
    )
    return runner.run_experiment(
        {**given, "_target_": node_id(function)},
        gpu_type=plain.get("gpu_type"),
        timeout_seconds=plain.get("timeout_seconds"),
    )


def node_id(function: Callable[..., Any]) -> str:
    """Return ``file::name`` of a function, also of one of the program itself."""
    inner = inspect.unwrap(function)
    code = getattr(inner, "__code__", None)
    if code is None:
        raise UsageProblems("function", [f"{function!r} is not a function of a file"])
    return f"{code.co_filename}::{inner.__qualname__}"
