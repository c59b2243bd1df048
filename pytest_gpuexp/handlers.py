"""Which functions of a module are handlers, and every run that they stand for."""

from __future__ import annotations

import fnmatch
import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_gpuexp import identifiers, sweep, tiers
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.groups import Group, cases_group, grid_group, paired_group, parametrize_group
from pytest_gpuexp.overrides import Overrides
from pytest_gpuexp.records import Experiment, Plain, RunSpec
from pytest_gpuexp.settings import Settings

_NUMBERED = re.compile(r"e\d+_\d+(?=_)")
_OWN_MARKS = {"gpuexp_grid", "gpuexp_paired", "gpuexp_cases", "parametrize"}
_NEVER_PARAMETERS = {"runner", "request"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """One handler with all its runs, before any is deselected.

    ``marks`` are its own, and ``row_marks`` those that ``pytest.param`` gives to single rows: the
    row's names, its text in ids, its marks.
    """

    handler_id: str
    function: Callable[..., Any]
    specs: tuple[RunSpec, ...]
    variants: Mapping[str, tuple[RunSpec, ...]]
    marks: tuple[pytest.Mark, ...]
    row_marks: tuple[tuple[tuple[str, ...], str, tuple[pytest.Mark, ...]], ...] = ()

    def marks_of(self, spec: RunSpec) -> list[pytest.Mark]:
        """Return the marks that ``pytest.param`` gives to the row that ``spec`` came from."""
        return [
            mark
            for names, text, marks in self.row_marks
            if all(name in spec.parameters for name in names)
            and identifiers.row_text(names, [spec.parameters[name] for name in names]) == text
            for mark in marks
        ]


def find_functions(module: types.ModuleType, patterns: Sequence[str]) -> list[tuple[str, Any]]:
    """Return name and function of the module's own handlers, in the order of definition.

    Raises:
        UsageProblems: a handler is a class, a coroutine or a generator.
    """
    problems: list[str] = []
    found: list[tuple[str, Any]] = []
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue  # imported: it is collected where it is defined
        if inspect.isclass(value):
            methods = [key for key in vars(value) if _matches(key, patterns)]
            if methods and getattr(value, "__test__", True):
                problems.append(
                    f"class {name} holds {', '.join(methods)}; handlers are functions of the module"
                )
        elif inspect.isfunction(value) and _matches(name, patterns):
            if not getattr(value, "__test__", True) or _marks_named(value, "gpuexp_criterion"):
                continue
            if inspect.iscoroutinefunction(value) or inspect.isgeneratorfunction(value):
                problems.append(f"{name} is async or a generator; a handler is a plain function")
            found.append((name, value))
    ids = [handler_id(name) for name, _ in found]
    problems += [
        f"two handlers have the id {twice}; rename one of them"
        for twice in sorted({one for one in ids if ids.count(one) > 1})
    ]
    if problems:
        raise UsageProblems(module.__name__, problems)
    return found


def handler_id(name: str) -> str:
    """Return ``e1_1`` for ``e1_1_latent_visualization``, and any other name as it is."""
    match = _NUMBERED.match(name)
    return match[0] if match else name


def read_experiment(module: types.ModuleType, path: str) -> Experiment:
    """Return what ``pytestmark = experiment(...)`` says, or a plain experiment named as the file.

    Raises:
        UsageProblems: it is declared twice, or with an id that names no folder.
    """
    declared = [mark for mark in _module_marks(module) if mark.name == "gpuexp_experiment"]
    if not declared:
        return Experiment(experiment_id=module.__name__.rpartition(".")[2], path=path)
    if len(declared) > 1:
        raise UsageProblems(path, ["pytestmark holds experiment(...) twice; keep one"])
    (experiment_id,), given = declared[0].args, declared[0].kwargs
    problems = []
    if not isinstance(experiment_id, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", experiment_id):
        problems.append(
            f"experiment id {experiment_id!r} names a folder: letters, digits, '-', '_' and '.'"
        )
    if given["judged"] not in ("any", "every"):
        problems.append(f"judged={given['judged']!r} is not 'any' or 'every'")
    problems += [
        f"success_criteria[{name!r}] is {value!r}; write at_least(...) or at_most(...)"
        for name, value in given["success_criteria"].items()
        if not hasattr(value, "acceptable")
    ]
    if problems:
        raise UsageProblems(path, problems)
    return Experiment(experiment_id=experiment_id, path=path, **given)


def read_handler(
    name: str,
    function: Callable[..., Any],
    experiment: Experiment,
    *,
    overrides: Overrides,
    settings: Settings,
) -> Handler:
    """Expand one handler into its runs.

    Raises:
        UsageProblems: its marks cannot be read; all problems found.
    """
    subject = f"{experiment.path}::{name}"
    marks = _marks(function)
    groups, row_marks = _groups(marks)
    problems: list[str] = []
    seed_marks = [mark for mark in marks if mark.name == "gpuexp_seeds"]
    if len(seed_marks) > 1:
        problems.append("seeds() is given twice; keep one")
    machine = _machine(marks, settings, problems)
    points: list[sweep.Point] = []
    try:
        points = sweep.expand(
            groups,
            seed_marks[0].args[0] if seed_marks else None,
            overrides=Overrides(
                seeds=overrides.seeds, axes=overrides.axes, added=overrides.added
            ),
            accepted=arguments(function) - _NEVER_PARAMETERS - {"seed"},
            subject=subject,
        )
    except UsageProblems as error:
        problems += error.problems
    if problems:
        raise UsageProblems(subject, problems)
    variants: dict[str, list[RunSpec]] = {}
    for point in points:
        spec = _spec(name, experiment, point, machine)
        variants.setdefault(point.variant, []).append(spec)
    return Handler(
        handler_id=handler_id(name),
        function=function,
        specs=tuple(spec for specs in variants.values() for spec in specs),
        variants={variant: tuple(specs) for variant, specs in variants.items()},
        marks=tuple(marks),
        row_marks=tuple(row_marks),
    )


def arguments(function: Callable[..., Any]) -> set[str]:
    """Return the names that a handler can be given."""
    return {
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def _spec(
    name: str, experiment: Experiment, point: sweep.Point, machine: Mapping[str, Any]
) -> RunSpec:
    identity = handler_id(name)
    return RunSpec(
        experiment_id=experiment.experiment_id,
        handler=identity,
        function=name,
        path=experiment.path,
        name=f"{name}[{point.id}]" if point.id else name,
        parameters=point.parameters,
        seed=point.seed,
        run_id=identifiers.run_id(
            experiment.experiment_id, identity, point.parameters, point.seed
        ),
        **machine,
    )


def _machine(
    marks: Iterable[pytest.Mark], settings: Settings, problems: list[str]
) -> dict[str, Any]:
    """Return tier, GPUs and timeout; the command line outranks the marks, these the tier."""
    asked = [mark for mark in marks if mark.name == "gpuexp_tier"]
    name = asked[0].args[0] if asked else None
    given: Mapping[str, Any] = asked[0].kwargs if asked else {}
    gpus, timeout = given.get("gpus"), given.get("timeout")
    tier = None
    try:
        if settings.gpu or name:
            tier = tiers.find_tier(settings.gpu or name)
        seconds = None if timeout is None else tiers.parse_duration(timeout)
    except UsageProblems as error:
        problems += [f"tier: {problem}" for problem in error.problems]
        return {}
    if gpus is not None and (isinstance(gpus, bool) or not isinstance(gpus, int) or gpus < 0):
        problems.append(f"tier: gpus={gpus!r} is not a number of GPUs")
    if tier is not None and gpus is None:
        gpus = tier.gpus
    tier_timeout = tier.timeout_seconds if tier else None
    return {
        "tier": tier.name if tier else None,
        "gpus": gpus,
        "timeout_seconds": settings.run_timeout or seconds or tier_timeout,
    }


def _groups(
    marks: Iterable[pytest.Mark],
) -> tuple[list[Group], list[tuple[tuple[str, ...], str, tuple[pytest.Mark, ...]]]]:
    groups: list[Group] = []
    row_marks: list[tuple[tuple[str, ...], str, tuple[pytest.Mark, ...]]] = []
    for mark in marks:
        if mark.name == "gpuexp_grid":
            groups.append(grid_group(mark.kwargs["axes"], **_conditions(mark)))
        elif mark.name == "gpuexp_paired":
            groups.append(paired_group(mark.kwargs["axes"], **_conditions(mark)))
        elif mark.name == "gpuexp_cases":
            groups.append(cases_group(mark.args[0], **_conditions(mark)))
        elif mark.name == "parametrize":
            groups.append(_parametrized(mark, row_marks))
    return groups, row_marks


def _parametrized(
    mark: pytest.Mark,
    row_marks: list[tuple[tuple[str, ...], str, tuple[pytest.Mark, ...]]],
) -> Group:
    argnames = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
    argvalues = mark.args[1] if len(mark.args) > 1 else mark.kwargs.get("argvalues", ())
    if mark.kwargs.get("indirect"):
        told = "parametrize: indirect= is not for handlers; let the fixture take the name itself"
        return Group(kind="parametrize", blocks=(), problems=(told,))
    names = argnames.split(",") if isinstance(argnames, str) else list(argnames)
    names = [name.strip() for name in names if name.strip()]
    rows: list[Any] = []
    marked: list[tuple[int, tuple[pytest.Mark, ...]]] = []
    for number, value in enumerate(argvalues):
        if type(value).__name__ == "ParameterSet":  # what pytest.param gives
            marks = tuple(getattr(one, "mark", one) for one in value.marks)
            marked += [(number, marks)] if marks else []
            value = value.values[0] if len(names) == 1 else tuple(value.values)
        rows.append(value)
    group = parametrize_group(argnames, rows)
    if not group.problems:
        texts = group.blocks[0].texts
        row_marks += [(tuple(names), texts[number], marks) for number, marks in marked]
    return group


def _conditions(mark: pytest.Mark) -> dict[str, Any]:
    return {"exclude": mark.kwargs["exclude"], "only": mark.kwargs["only"]}


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _marks(function: Callable[..., Any]) -> list[pytest.Mark]:
    """Return the marks in the order in which the decorators are written, from the top."""
    return list(reversed(getattr(function, "pytestmark", [])))


def _marks_named(function: Callable[..., Any], name: str) -> list[pytest.Mark]:
    return [mark for mark in _marks(function) if mark.name == name]


def _module_marks(module: types.ModuleType) -> list[pytest.Mark]:
    marks: Any = getattr(module, "pytestmark", [])
    marks = marks if isinstance(marks, (list, tuple)) else [marks]
    return [getattr(mark, "mark", mark) for mark in marks]


def criteria_of(module: types.ModuleType) -> list[tuple[str, Callable[..., Any], pytest.Mark]]:
    """Return name, function and mark of the module's own ``@criterion`` functions."""
    return [
        (name, value, mark)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
        for mark in _marks_named(value, "gpuexp_criterion")
    ]


