"""Which functions of a module are handlers, and which are criteria."""

from __future__ import annotations

import fnmatch
import inspect
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from pytest_gpuexp.declarations import marks_of
from pytest_gpuexp.identifiers import handler_id


def find_functions(
    module: types.ModuleType, patterns: Sequence[str], problems: list[str]
) -> list[tuple[str, Any]]:
    """Return name and function of the module's own handlers, in the order of definition.

    ``problems`` gets those that cannot be run: methods, coroutines, generators, ids given twice.
    """
    found: list[tuple[str, Any]] = []
    for name, value in vars(module).items():
        # What was imported is collected where it is defined.
        if getattr(value, "__module__", None) != module.__name__ or not _is_asked_for(value):
            continue
        if inspect.isclass(value):
            problems += _class_problems(value, patterns)
        elif inspect.isfunction(value) and _matches(name, patterns):
            problems += function_problems(name, value)
            found.append((name, value))
    problems += _twice(handler_id(name) for name, _ in found)
    return found


def criteria_of(module: types.ModuleType) -> list[tuple[str, Callable[..., Any], pytest.Mark]]:
    """Return name, function and mark of the module's own ``@criterion`` functions."""
    return [
        (name, value, mark)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
        for mark in _criterion_marks(value)
    ]


def _is_asked_for(value: object) -> bool:
    return bool(getattr(value, "__test__", True)) and not _criterion_marks(value)


def _class_problems(value: type, patterns: Sequence[str]) -> list[str]:
    methods = [key for key in vars(value) if _matches(key, patterns)]
    if not methods:
        return []
    told = f"class {value.__name__} holds {', '.join(methods)}"
    return [f"{told}; handlers are functions of the module, so move them out of the class"]


def function_problems(name: str, function: Callable[..., Any]) -> list[str]:
    """Return why ``function`` cannot be a handler, if so."""
    for kind, holds in (
        ("a coroutine (async def)", inspect.iscoroutinefunction),
        ("an asynchronous generator", inspect.isasyncgenfunction),
        ("a generator (it yields)", inspect.isgeneratorfunction),
    ):
        if holds(function):
            return [f"{name} is {kind}; a handler is a plain function that returns a dict or None"]
    return []


def _twice(ids: Iterable[str]) -> list[str]:
    listed = list(ids)
    return [
        f"two handlers have the id {twice}; rename one of them"
        for twice in sorted({one for one in listed if listed.count(one) > 1})
    ]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _criterion_marks(function: object) -> list[pytest.Mark]:
    return [mark for mark in marks_of(function) if mark.name == "gpuexp_criterion"]
