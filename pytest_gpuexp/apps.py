"""Hydra apps of the user's own, whose function is run where its config says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pytest_gpuexp import cloud, composition, hydra_tasks
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import ExperimentResult
from pytest_gpuexp.runner import ExperimentRunner

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_OURS = ("run_on_modal", "backend", "gpu_type", "timeout_seconds", "storage")


def run_config(config: Any, function: Callable[..., Any]) -> ExperimentResult:
    """Run ``function`` with ``config`` in a worker, and return how that ended.

    ``run_on_modal=true`` in the config runs it on Modal, ``backend=`` on another backend; without
    them it runs on this machine. ``gpu_type``, ``timeout_seconds`` and ``storage`` are read from
    the config too, where they stand at its top. ``function`` stands at the top level of its file,
    and gets of the config what its arguments name, all of it as ``config``. In a job of a multirun
    with ``hydra/launcher=gpuexp`` the app is in a worker already: there ``function`` is called at
    once, and what it raises is raised.

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
    if (runner := hydra_tasks.current_runner()) is not None:
        return _run_here(function, given, runner)
    backend = "modal" if plain.get("run_on_modal") else plain.get("backend", "local")
    elsewhere = cloud.Runner(
        str(backend),
        storage=str(plain.get("storage", "results")),
        folder=composition.starting_folder(),
    )
    return elsewhere.run_experiment(
        {**given, "_target_": node_id(function)},
        gpu_type=plain.get("gpu_type"),
        timeout_seconds=plain.get("timeout_seconds"),
    )


def _run_here(
    function: Callable[..., Any], config: Mapping[str, Any], runner: ExperimentRunner
) -> ExperimentResult:
    """Call ``function`` for the run of ``runner``, whose result is the job's."""
    whole = dict(config)
    known = {**dict.fromkeys(hydra_tasks.NAMES, whole), "seed": runner.seed, **whole}
    known["runner"] = runner
    arguments = inspect.signature(function).parameters.values()
    problems = [
        f"{one.name}: the config has no such key, and in a multirun there are no fixtures"
        for one in arguments
        if one.name not in known and one.default is one.empty and one.kind in _NAMED
    ]
    if problems:
        raise UsageProblems(node_id(function), problems)
    named = {one.name for one in arguments if one.kind in _NAMED}
    if any(one.kind is one.VAR_KEYWORD for one in arguments):
        named |= set(config)
    runner.take_return(function(**{name: known[name] for name in known if name in named}))
    return ExperimentResult(
        experiment_id=runner.experiment_id,
        run_id=runner.run_id,
        attempt=runner.attempt,
        handler=function.__name__,
        name=function.__name__,
        path=node_id(function).partition("::")[0],
        status="completed",
        verdict="not_evaluated",
        config={**config, "seed": runner.seed},
        parameters=dict(config),
        seed=runner.seed,
        metrics=runner.metrics,
        finding=runner.finding,
    )


def node_id(function: Callable[..., Any]) -> str:
    """Return ``file::name`` of a function, also of one of the program itself."""
    inner = inspect.unwrap(function)
    code = getattr(inner, "__code__", None)
    if code is None:
        raise UsageProblems("function", [f"{function!r} is not a function of a file"])
    return f"{code.co_filename}::{inner.__qualname__}"
