"""What the marks of a module and of its handlers say."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import pytest

from pytest_gpuexp import tiers
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.groups import Group, cases_group, grid_group, paired_group, parametrize_group
from pytest_gpuexp.records import Experiment, Threshold
from pytest_gpuexp.settings import Settings

_FOLDER = re.compile(r"[A-Za-z0-9][\w.-]*")
RowMarks = tuple[tuple[str, ...], str, tuple[pytest.Mark, ...]]  # names, text in ids, marks


def marks_of(holder: object) -> list[pytest.Mark]:
    """Return the marks of a function or a module, decorators in the order in which they stand."""
    given: Any = getattr(holder, "pytestmark", [])
    given = given if isinstance(given, (list, tuple)) else [given]
    return [getattr(mark, "mark", mark) for mark in reversed(given)]


def marks_for(function: Callable[..., Any]) -> list[pytest.Mark]:
    """Return what holds for a handler: its own marks, then those of its module's ``pytestmark``.

    The module's seeds and tier are left out where the handler has its own.
    """
    own = marks_of(function)
    mine = {mark.name for mark in own} & {"gpuexp_seeds", "gpuexp_tier"}
    module = inspect.unwrap(function).__globals__  # a decorator's wrapper may be from elsewhere
    around = marks_of(types.SimpleNamespace(pytestmark=module.get("pytestmark", [])))
    return own + [mark for mark in around if mark.name not in mine]


def read_experiment(module: types.ModuleType, path: str) -> Experiment:
    """Return what ``pytestmark = experiment(...)`` says, or a plain experiment named as the file.

    Raises:
        UsageProblems: it is declared twice, or with an id that names no folder; all problems.
    """
    declared = [mark for mark in marks_of(module) if mark.name == "gpuexp_experiment"]
    if not declared:
        return Experiment(experiment_id=module.__name__.rpartition(".")[2], path=path)
    if len(declared) > 1:
        raise UsageProblems(path, ["pytestmark holds experiment(...) twice; keep one"])
    experiment_id = declared[0].args[0] if declared[0].args else None
    problems = _experiment_problems(experiment_id, declared[0].kwargs)
    if problems:
        raise UsageProblems(path, problems)
    return Experiment(experiment_id=cast(str, experiment_id), path=path, **declared[0].kwargs)


def _experiment_problems(experiment_id: object, given: Mapping[str, Any]) -> list[str]:
    problems = []
    if not isinstance(experiment_id, str) or not _FOLDER.fullmatch(experiment_id):
        problems.append(
            f"experiment id {experiment_id!r} names a folder: letters, digits, '-', '_' and '.'"
        )
    if given.get("judged", "any") not in ("any", "every"):
        problems.append(f"judged={given['judged']!r} is not 'any' or 'every'")
    return problems + [
        f"success_criteria[{name!r}] is {value!r}; write at_least(...) or at_most(...)"
        for name, value in given.get("success_criteria", {}).items()
        if not isinstance(value, Threshold)
    ]


def groups_of(marks: Iterable[pytest.Mark]) -> tuple[list[Group], list[RowMarks]]:
    """Return the groups of parameters, and the marks that ``pytest.param`` gives to rows."""
    groups: list[Group] = []
    row_marks: list[RowMarks] = []
    for mark in marks:
        if mark.name == "gpuexp_grid":
            groups.append(grid_group(_axes(mark), **_conditions(mark)))
        elif mark.name == "gpuexp_paired":
            groups.append(paired_group(_axes(mark), **_conditions(mark)))
        elif mark.name == "gpuexp_cases":
            groups.append(cases_group(mark.args[0] if mark.args else (), **_conditions(mark)))
        elif mark.name == "parametrize":
            groups.append(_parametrized(mark, row_marks))
    return groups, row_marks


def seeds_of(marks: Iterable[pytest.Mark], problems: list[str]) -> Any:
    """Return what ``seeds(...)`` was given, or None where there is none."""
    given = [mark.args for mark in marks if mark.name == "gpuexp_seeds"]
    if len(given) > 1:
        problems.append("seeds() is given twice; keep one")
    if given and len(given[0]) != 1:
        problems.append("seeds() takes one count or one list; write seeds(3) or seeds([0, 7])")
        return None
    return given[0][0] if given else None


def machine_of(
    marks: Iterable[pytest.Mark], settings: Settings, problems: list[str]
) -> dict[str, Any]:
    """Return tier, GPUs and timeout; the command line outranks the marks, these the tier."""
    asked = next((mark for mark in marks if mark.name == "gpuexp_tier"), None)
    given: Mapping[str, Any] = asked.kwargs if asked else {}
    name = asked.args[0] if asked and asked.args else None
    gpus, timeout = given.get("gpus"), given.get("timeout")
    tier, seconds = None, None
    try:
        tier = (
            tiers.find_tier(settings.gpu or name, settings.tiers) if settings.gpu or name else None
        )
    except UsageProblems as error:
        problems += [f"tier: {problem}" for problem in error.problems]
    try:
        seconds = None if timeout is None else tiers.parse_duration(timeout)
    except UsageProblems as error:
        problems += [f"tier: timeout: {problem}" for problem in error.problems]
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


def _parametrized(mark: pytest.Mark, row_marks: list[RowMarks]) -> Group:
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
            bare = isinstance(argnames, str) and len(names) == 1
            value = value.values[0] if bare else tuple(value.values)
        rows.append(value)
    group = parametrize_group(argnames, rows)
    if not group.problems:
        texts = group.blocks[0].texts
        row_marks += [(tuple(names), texts[number], marks) for number, marks in marked]
    return group


def _axes(mark: pytest.Mark) -> Mapping[str, Any]:
    """Return the axes of ``grid(...)``, or of its marker written out with plain keywords."""
    axes = mark.kwargs.get("axes")
    if isinstance(axes, Mapping):
        return axes
    return {name: mark.kwargs[name] for name in mark.kwargs if name not in ("exclude", "only")}


def _conditions(mark: pytest.Mark) -> dict[str, Any]:
    return {name: mark.kwargs.get(name) for name in ("exclude", "only")}
