"""Where the function stands that a config names."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from pytest_gpuexp.errors import UsageProblems


def find_target(text: object, folder: Path) -> tuple[str, str]:
    """Return the absolute path of the module and the name of the function that ``text`` means.

    ``text`` is ``package.module.function``, or ``experiments/exp_digits.py::exp_mlp`` relative to
    ``folder``. Modules are looked for on the path, then in ``folder`` and its ``src``: that of a
    command holds neither. Nothing is imported but the packages around a module, and a module that
    holds the name without defining it.

    Raises:
        UsageProblems: there is no such function.
    """
    if not isinstance(text, str) or not text:
        raise _unknown(text, "write package.module.function, or path/to/exp_file.py::function")
    if "::" in text:
        file, _, name = text.partition("::")
        path = Path(os.path.abspath(folder / file))
        if not path.is_file():
            raise _unknown(text, f"there is no file {path}")
        found = functions_of(path)
        if name not in found:
            raise _unknown(text, f"{path.name} has the functions {', '.join(found) or 'none'}")
        return str(path), name
    module, _, name = text.rpartition(".")
    try:
        return _search(text, module, name)
    except UsageProblems:
        with _added([folder, folder / "src"]):
            return _search(text, module, name)


@contextmanager
def _added(folders: Sequence[Path]) -> Iterator[None]:
    before = list(sys.path)
    sys.path += [str(one.absolute()) for one in folders]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


@lru_cache(maxsize=256)
def functions_of(path: Path) -> tuple[str, ...]:
    """Return the names of the functions at the top level of the file ``path``.

    Raises:
        UsageProblems: it is no Python.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise UsageProblems(str(path), [f"it cannot be read: {error}"]) from None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return tuple(node.name for node in tree.body if isinstance(node, kinds))


def _search(text: str, module: str, name: str) -> tuple[str, str]:
    if module in ("", "__main__"):
        raise _unknown(
            text,
            "a worker cannot import what a script or a notebook defines; put the function "
            "into a module of its own and write package.module.function",
        )
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError) as error:
        raise _unknown(text, f"{module} cannot be found: {error}") from None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise _unknown(text, f"there is no module {module}; is it on the path?")
    path = Path(os.path.abspath(spec.origin))
    if name in functions_of(path):
        return str(path), name
    return _follow(text, module, name)


def _follow(text: str, module: str, name: str) -> tuple[str, str]:
    """Return where the function is defined that ``module`` only imports."""
    try:
        value: Any = getattr(importlib.import_module(module), name, None)
    except Exception as error:
        raise _unknown(text, f"{module} cannot be imported: {error}") from error
    if not inspect.isfunction(value):
        raise _unknown(text, f"{module} has no function {name}")
    path, name = Path(os.path.abspath(value.__code__.co_filename)), value.__qualname__
    if not path.is_file() or name not in functions_of(path):
        raise _unknown(text, f"{name} is not a function at the top level of a file")
    return str(path), name


def _unknown(text: object, why: str) -> UsageProblems:
    return UsageProblems("_target_", [f"{text!r} names no function: {why}"])
