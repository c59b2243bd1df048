"""The handlers of a module as an order asks for them, whatever the module itself declares."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gpuexp import declarations, definitions, identifiers
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.handlers import Handler
from pytest_gpuexp.orders import Order, RunRequest
from pytest_gpuexp.records import Experiment, RunSpec
from pytest_gpuexp.settings import Settings


def ordered_experiment(experiment: Experiment, order: Order) -> Experiment:
    """Return ``experiment`` with the thresholds of ``order``, where that has some.

    A stage searches, so it is met where one of its variants meets all of them.
    """
    if not order.stage:
        return dataclasses.replace(experiment, success_criteria={})
    if order.success_criteria:
        criteria = order.success_criteria
        return dataclasses.replace(experiment, success_criteria=criteria, judged="any")
    return experiment


def ordered_handlers(
    module: types.ModuleType,
    path: Path,
    experiment: Experiment,
    order: Order,
    *,
    settings: Settings,
) -> list[Handler]:
    """Return the handlers of the module at ``path`` with the runs that ``order`` asks for.

    Raises:
        UsageProblems: a function is not there, or cannot be run; all problems.
    """
    settings = dataclasses.replace(
        settings,
        gpu=settings.gpu or order.gpu_type,
        run_timeout=settings.run_timeout or order.timeout_seconds,
    )
    own = str(path)
    asked: dict[str, list[RunRequest]] = {}
    for request in order.requests:
        if request.path == own:
            asked.setdefault(request.function, []).append(request)
    problems: list[str] = []
    handlers = [
        handler
        for name, requests in asked.items()
        if (handler := _handler(module, name, requests, experiment, settings, problems))
    ]
    if problems:
        raise UsageProblems(experiment.path, problems)
    return handlers


def _handler(
    module: types.ModuleType,
    name: str,
    requests: Sequence[RunRequest],
    experiment: Experiment,
    settings: Settings,
    problems: list[str],
) -> Handler | None:
    function: Any = getattr(module, name, None)
    if not inspect.isfunction(function):
        problems.append(f"{name} is not a function of the module")
        return None
    problems += definitions.function_problems(name, function)
    machine = declarations.machine_of(declarations.marks_for(function), settings, problems)
    specs = [_spec(name, request, experiment, machine) for request in requests]
    return Handler(
        handler_id=identifiers.handler_id(name),
        function=function,
        specs=tuple(specs),
        variants=_variants(specs),
        marks=tuple(declarations.marks_of(function)),
    )


def _spec(
    name: str, request: RunRequest, experiment: Experiment, machine: Mapping[str, Any]
) -> RunSpec:
    identity = identifiers.handler_id(name)
    return RunSpec(
        experiment_id=experiment.experiment_id,
        handler=identity,
        function=name,
        path=experiment.path,
        name=f"{name}[{request.label}]" if request.label else name,
        parameters=request.parameters,
        seeded=request.seeded,
        seed=request.seed,
        run_id=request.run_id
        or identifiers.run_id(experiment.experiment_id, identity, request.parameters, request.seed),
        **machine,
    )


def _variants(specs: Iterable[RunSpec]) -> dict[str, tuple[RunSpec, ...]]:
    variants: dict[str, list[RunSpec]] = {}
    for spec in specs:
        variants.setdefault(identifiers.value_text(spec.variant), []).append(spec)
    return {variant: tuple(found) for variant, found in variants.items()}
