"""What the marks of a module and of its handlers say."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import types
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import pytest

from pytest_gpuexp import tiers
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.groups import Group, cases_group, grid_group, paired_group, parametrize_group
from pytest_gpuexp.identifiers import folder_problem
from pytest_gpuexp.records import Experiment, Threshold
from pytest_gpuexp.retrying import STATUSES, UNASKED, Retries
from pytest_gpuexp.settings import Settings
from pytest_gpuexp.values import read_items


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What ``parametrize`` says of one row beside its values.

    ``text`` is the row in our ids, which follow from the values of ``names``; ``words`` are its own
    ids, by which ``-k`` finds it too; ``marks`` are those that ``pytest.param`` gives it.
    """

    names: tuple[str, ...]
    text: str
    words: tuple[str, ...] = ()
    marks: tuple[pytest.Mark, ...] = ()


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
    if problem := folder_problem(experiment_id):
        problems.append(problem)
    if given.get("judged", "any") not in ("any", "every"):
        problems.append(f"judged={given['judged']!r} is not 'any' or 'every'")
    return problems + [
        f"success_criteria[{name!r}] is {value!r}; write at_least(...) or at_most(...)"
        for name, value in given.get("success_criteria", {}).items()
        if not isinstance(value, Threshold)
    ]


def groups_of(marks: Iterable[pytest.Mark]) -> tuple[list[Group], list[Row]]:
    """Return the groups of parameters, and the rows that ``parametrize`` says more of."""
    groups: list[Group] = []
    told: list[Row] = []
    for mark in marks:
        if mark.name == "gpuexp_grid":
            groups.append(grid_group(_axes(mark), **_conditions(mark)))
        elif mark.name == "gpuexp_paired":
            groups.append(paired_group(_axes(mark), **_conditions(mark)))
        elif mark.name == "gpuexp_cases":
            groups.append(cases_group(mark.args[0] if mark.args else (), **_conditions(mark)))
        elif mark.name == "parametrize":
            groups.append(_parametrized(mark, told))
    return groups, told


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
    name, given = _asked(marks)
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


def retries_of(
    marks: Iterable[pytest.Mark], settings: Settings, problems: list[str]
) -> Retries | None:
    """Return when runs are attempted again; None for never.

    The command line's ``--gpu`` outranks ``or_tier`` too.
    """
    _, given = _asked(marks)
    number, on, name = given.get("retries", 0), given.get("on"), given.get("or_tier")
    statuses = UNASKED if on is None else _statuses(on)
    found = [*_retry_problems(number, on, name), *_status_problems(statuses, name)]
    instead = {} if name is None else _larger(name, given.get("timeout"), settings, found)
    problems += [f"tier: {problem}" for problem in found]
    if found or not number:
        return None
    return Retries(number=number, on=frozenset(statuses), instead={} if settings.gpu else instead)


def _retry_problems(number: Any, on: Any, name: Any) -> Iterable[str]:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        yield f"retries={number!r} is not a number of further attempts"
    elif not number and (on is not None or name is not None):
        yield "on= and or_tier= say how retries go; add retries=1 or more"


def _status_problems(statuses: Iterable[Any], name: Any) -> Iterable[str]:
    for one in statuses:
        if one not in STATUSES:
            yield f"on: {one!r} is no status to retry after ({', '.join(STATUSES)})"
    if name is not None and "oom" not in statuses:
        yield "or_tier= is asked for after an oom; add 'oom' to on="


def _larger(name: Any, timeout: Any, settings: Settings, problems: list[str]) -> dict[str, Any]:
    """Return the machine that ``name`` stands for; a wrong ``timeout`` is told elsewhere."""
    try:
        tier = tiers.find_tier(name, settings.tiers)
    except UsageProblems as error:
        problems += [f"or_tier: {problem}" for problem in error.problems]
        return {}
    seconds = None
    with contextlib.suppress(UsageProblems):
        seconds = None if timeout is None else tiers.parse_duration(timeout)
    return {
        "tier": tier.name,
        "gpus": tier.gpus,
        "timeout_seconds": settings.run_timeout or seconds or tier.timeout_seconds,
    }


def _asked(marks: Iterable[pytest.Mark]) -> tuple[Any, Mapping[str, Any]]:
    asked = next((mark for mark in marks if mark.name == "gpuexp_tier"), None)
    if asked is None:
        return None, {}
    return (asked.args[0] if asked.args else None), asked.kwargs


def _statuses(on: Any) -> list[Any]:
    """Return the statuses in ``on``; one alone is taken too."""
    return [on] if isinstance(on, str) or not isinstance(on, Iterable) else list(on)


def _parametrized(mark: pytest.Mark, told: list[Row]) -> Group:
    argnames = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
    argvalues = mark.args[1] if len(mark.args) > 1 else mark.kwargs.get("argvalues", ())
    if mark.kwargs.get("indirect"):
        problem = "parametrize: indirect= is not for handlers; let the fixture take the name itself"
        return Group(kind="parametrize", blocks=(), problems=(problem,))
    names = argnames.split(",") if isinstance(argnames, str) else list(argnames)
    names = [name.strip() for name in names if name.strip()]
    items, wrong = read_items(argvalues)
    if wrong:
        return Group(kind="parametrize", blocks=(), problems=(f"parametrize {wrong}",))
    bare = isinstance(argnames, str) and len(names) == 1
    taken = [_taken_apart(item, bare=bare) for item in items]
    rows = [values for values, _, _ in taken]
    group = parametrize_group(argnames, rows)
    if group.problems:
        return group
    given, wrong = _row_words(mark.kwargs.get("ids"), [(row,) if bare else row for row in rows])
    if wrong:
        return Group(kind="parametrize", blocks=(), problems=(f"parametrize: {wrong}",))
    for text, words, (_, own, marks) in zip(group.blocks[0].texts, given, taken, strict=True):
        words = (own,) if isinstance(own, str) else words
        if words or marks:
            told.append(Row(names=tuple(names), text=text, words=words, marks=marks))
    return group


def _taken_apart(row: Any, *, bare: bool) -> tuple[Any, Any, tuple[pytest.Mark, ...]]:
    """Return values, id and marks of a row; ``bare`` rows are one value each."""
    if type(row).__name__ != "ParameterSet":  # what pytest.param gives
        return row, None, ()
    marks = tuple(getattr(one, "mark", one) for one in row.marks)
    return row.values[0] if bare else tuple(row.values), row.id, marks


def _row_words(ids: Any, rows: Sequence[Sequence[Any]]) -> tuple[list[tuple[str, ...]], str | None]:
    """Return what ``parametrize(ids=...)`` calls each row, or what is wrong with it.

    As pytest has it: a text a row, none at all, or a function of a value. Ids that do not say how
    many they are may be fewer, and more, than there are rows.
    """
    unnamed: list[tuple[str, ...]] = [()] * len(rows)
    if ids is None:
        return unnamed, None
    if not callable(ids) and not isinstance(ids, Iterable):
        return unnamed, f"ids={ids!r} is neither a function nor a list of ids"
    if isinstance(ids, Sized) and len(ids) not in (0, len(rows)):
        return unnamed, f"{len(ids)} ids for {len(rows)} rows"
    try:
        named = (
            [[ids(value) for value in row] for row in rows]
            if callable(ids)
            else [[word] for word in itertools.islice(ids, len(rows))]
        )
        words = [tuple(str(word) for word in row if word is not None) for row in named]
    # The user's own code may raise anything, and is told of it.
    except Exception as error:  # noqa: BLE001
        return unnamed, f"ids raised {type(error).__name__}: {error}"
    return words + unnamed[len(words) :], None


def _axes(mark: pytest.Mark) -> Mapping[str, Any]:
    """Return the axes of ``grid(...)``, or of its marker written out with plain keywords."""
    axes = mark.kwargs.get("axes")
    if isinstance(axes, Mapping):
        return axes
    return {name: mark.kwargs[name] for name in mark.kwargs if name not in ("exclude", "only")}


def _conditions(mark: pytest.Mark) -> dict[str, Any]:
    return {name: mark.kwargs.get(name) for name in ("exclude", "only")}
