"""How a handler becomes a pytest item whose parameters are filled in."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest

from pytest_gpuexp import hydra_tasks
from pytest_gpuexp.records import Attempt, Plain, RunSpec
from pytest_gpuexp.runner import ExperimentRunner
from pytest_gpuexp.seeding import seed_everything

RUNNER = pytest.StashKey[ExperimentRunner]()
POINT = pytest.StashKey[Mapping[str, Plain]]()
_REGISTERED = pytest.StashKey[set[str]]()
_PLANS = pytest.StashKey[dict[tuple[str, ...], "_Plan"]]()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What all runs of a handler share: which names they fill in, and how fixtures are found."""

    handler: Callable[..., Any]
    given: frozenset[str]
    signature: inspect.Signature
    prototype: pytest.Function
    location: tuple[str, int | None, str]


def runner(request: pytest.FixtureRequest) -> ExperimentRunner:
    """The run's ExperimentRunner: its configuration, and the way for metrics and artifacts."""
    return cast(pytest.Item, request.node).stash[RUNNER]


def fixture_problems(module: pytest.Module, spec: RunSpec) -> list[str]:
    """Return what would keep every run of a handler from being set up, told by one of its runs.

    So that a misspelt name is told once, and before anything runs.
    """
    prototype = _plan(module, spec).prototype
    definitions = prototype._fixtureinfo.name2fixturedefs
    problems = [
        f"{spec.function}: {name!r} is neither a parameter "
        f"({', '.join([*spec.parameters, 'seed'])}) nor a fixture"
        for name in prototype.fixturenames
        if name not in definitions and name != "request"
    ]
    problems += [
        f"{spec.function}: fixture {name!r} is parametrized; a run takes its parameters from "
        "grid(), so give the fixture's values there"
        for name in prototype.fixturenames
        if name in definitions and definitions[name][-1].params
    ]
    return problems


def fixture_functions(module: pytest.Module, spec: RunSpec) -> list[Callable[..., Any]]:
    """Return the functions of all fixtures that the runs of a handler are set up with."""
    definitions = _plan(module, spec).prototype._fixtureinfo.name2fixturedefs
    return [cast(Any, one).func for found in definitions.values() for one in found]


def warm(module: pytest.Module, spec: RunSpec) -> None:
    """Work out before a fork what all runs of the handler of ``spec`` share."""
    _plan(module, spec)


def make_item(module: pytest.Module, attempt: Attempt, runner: ExperimentRunner) -> pytest.Function:
    """Return the real pytest item of ``attempt``: its fixtures, its marks, its name."""
    spec = attempt.spec
    plan = _plan(module, spec)
    item = pytest.Function.from_parent(
        module,
        name=spec.name,
        callobj=_bind(plan, attempt, runner),
        fixtureinfo=plan.prototype._fixtureinfo,
    )
    # Every report says where its item stands, and pytest goes a long way to find that out.
    item.location = (*plan.location[:2], spec.name)
    for name, args, kwargs in attempt.marks:
        item.add_marker(getattr(pytest.mark, name).with_args(*args, **kwargs))
    item.stash[RUNNER] = runner
    item.stash[POINT] = {**spec.parameters, "seed": spec.seed}
    return item


def _plan(module: pytest.Module, spec: RunSpec) -> _Plan:
    plans = module.stash.setdefault(_PLANS, {})
    key = (spec.function, *spec.parameters)
    if key not in plans:
        plans[key] = _make_plan(module, spec)
    return plans[key]


def _make_plan(module: pytest.Module, spec: RunSpec) -> _Plan:
    """Find out by a prototype, which never runs, how pytest would set up runs like ``spec``."""
    handler = hydra_tasks.unwrapped(getattr(module.obj, spec.function))
    _register_parameters(module, spec.parameters)
    arguments = inspect.signature(handler).parameters.values()
    point = [*spec.parameters, "seed"]
    given = {name for name in point if any(argument.name == name for argument in arguments)}
    if any(argument.kind is argument.VAR_KEYWORD for argument in arguments):
        given = {name.partition(".")[0] for name in point}
    given |= {one.name for one in arguments if _is_group(module, one.name, point)}
    left = [
        argument
        for argument in arguments
        if argument.name not in given
        and argument.default is argument.empty
        and argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY)
    ]
    signature = inspect.Signature(left)

    @functools.wraps(handler)
    def shape() -> None:
        """Stand for a run that has the handler's fixtures."""

    shape.__signature__ = signature  # type: ignore[attr-defined]
    prototype = pytest.Function.from_parent(module, name=spec.name, callobj=shape)
    return _Plan(
        handler=handler,
        given=frozenset(given),
        signature=signature,
        prototype=prototype,
        location=prototype.location,
    )


def _is_group(module: pytest.Module, name: str, point: Sequence[str]) -> bool:
    """Return whether an argument is given a group of the config, or as ``config`` all of it.

    A fixture of the name goes before.
    """
    is_group = name in hydra_tasks.NAMES or any(one.startswith(f"{name}.") for one in point)
    manager = module.session._fixturemanager
    return is_group and name not in point and not manager.getfixturedefs(name, module)


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


def _bind(plan: _Plan, attempt: Attempt, runner: ExperimentRunner) -> Callable[..., None]:
    """Return the handler with its parameters filled in; what is left are fixtures."""
    spec, handler = attempt.spec, plan.handler
    whole = hydra_tasks.configs(handler, runner.config)
    point = {**runner.config, **whole, **spec.parameters, "seed": spec.seed}
    given = {name: value for name, value in point.items() if name in plan.given}

    @functools.wraps(handler)
    def call(**fixtures: Any) -> None:
        __tracebackhide__ = True
        # Innermost, or plugins that reseed in their hooks would have the last word.
        seed_everything(spec.seed)
        with hydra_tasks.running(handler, runner):
            value = _stub(runner) if attempt.stub else handler(**given, **fixtures)
        runner.take_return(hydra_tasks.returned(handler, value))

    call.__signature__ = plan.signature  # type: ignore[attr-defined]
    return call


def _stub(runner: ExperimentRunner) -> Mapping[str, Any]:
    runner.log_metrics({"stub": 1.0})
    text = "written by --stub-mode; no handler ran\n"
    return {
        "finding": "stub: the handler's body was not executed",
        "artifacts": [runner.results.save_artifact("stub.txt", text)],
    }
