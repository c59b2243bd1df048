"""How a handler becomes a pytest item whose parameters are filled in."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from pytest_gpuexp.records import Attempt, Plain, RunSpec
from pytest_gpuexp.runner import ExperimentRunner
from pytest_gpuexp.seeding import seed_everything

RUNNER = pytest.StashKey[ExperimentRunner]()
POINT = pytest.StashKey[Mapping[str, Plain]]()
_REGISTERED = pytest.StashKey[set[str]]()


def runner(request: pytest.FixtureRequest) -> ExperimentRunner:
    """The run's ExperimentRunner: its configuration, and the way for metrics and artifacts."""
    return cast(pytest.Item, request.node).stash[RUNNER]


def fixture_problems(
    module: pytest.Module, handler: Callable[..., Any], specs: Sequence[RunSpec]
) -> list[str]:
    """Return what would keep every run of ``handler`` from being set up.

    Found by making one real item, so that a misspelt name is told once and before anything runs.
    """
    _register_parameters(module, specs[0].parameters)
    attempt = Attempt(spec=specs[0], number=0)
    item = pytest.Function.from_parent(
        module, name=specs[0].name, callobj=_bind(handler, attempt, None)
    )
    definitions = item._fixtureinfo.name2fixturedefs
    problems = [
        f"{handler.__name__}: {name!r} is neither a parameter "
        f"({', '.join([*specs[0].parameters, 'seed'])}) nor a fixture"
        for name in item.fixturenames
        if name not in definitions and name != "request"
    ]
    problems += [
        f"{handler.__name__}: fixture {name!r} is parametrized; a run takes its parameters from "
        "grid(), so give the fixture's values there"
        for name in item.fixturenames
        if name in definitions and definitions[name][-1].params
    ]
    return problems


def make_item(module: pytest.Module, attempt: Attempt, runner: ExperimentRunner) -> pytest.Function:
    """Return the real pytest item of ``attempt``: its fixtures, its marks, its name."""
    spec = attempt.spec
    handler = getattr(module.obj, spec.function)
    _register_parameters(module, spec.parameters)
    item = cast(
        pytest.Function,
        pytest.Function.from_parent(
            module, name=spec.name, callobj=_bind(handler, attempt, runner)
        ),
    )
    for name, args, kwargs in attempt.marks:
        item.add_marker(getattr(pytest.mark, name).with_args(*args, **kwargs))
    item.stash[RUNNER] = runner
    item.stash[POINT] = {**spec.parameters, "seed": spec.seed}
    return item


def _register_parameters(module: pytest.Module, parameters: Mapping[str, Plain]) -> None:
    """Let fixtures ask for the run's parameters, and its seed, by name."""
    known = module.stash.setdefault(_REGISTERED, set())
    for name in {*parameters, "seed"} - known:
        if name.isidentifier():
            known.add(name)
            pytest.register_fixture(name=name, func=_parameter(name), node=module)


def _parameter(name: str) -> Callable[[pytest.FixtureRequest], Plain]:
    def parameter(request: pytest.FixtureRequest) -> Plain:
        return request.node.stash[POINT][name]

    return parameter


def _bind(
    handler: Callable[..., Any], attempt: Attempt, runner: ExperimentRunner | None
) -> Callable[..., None]:
    """Return ``handler`` with its parameters filled in; what is left are fixtures."""
    spec = attempt.spec
    signature = inspect.signature(handler)
    point = {**spec.parameters, "seed": spec.seed}
    given = {name: value for name, value in point.items() if name in signature.parameters}
    if any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        given = {name: value for name, value in point.items() if name.isidentifier()}
    left = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.name not in given
        and parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]

    @functools.wraps(handler)
    def call(**fixtures: Any) -> None:
        __tracebackhide__ = True
        assert runner is not None  # only an item that is never run is made without one
        # Innermost, or plugins that reseed in their hooks would have the last word.
        seed_everything(spec.seed)
        value = _stub(runner) if attempt.stub else handler(**given, **fixtures)
        runner.take_return(value)

    call.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
    return call


def _stub(runner: ExperimentRunner) -> Mapping[str, Any]:
    runner.log_metrics({"stub": 1.0})
    text = "written by --stub-mode; no handler ran\n"
    return {
        "finding": "stub: the handler's body was not executed",
        "artifacts": [runner.results.save_artifact("stub.txt", text)],
    }
