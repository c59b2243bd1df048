"""How experiment modules are imported: with every passed assertion told."""

from __future__ import annotations

import ast
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from _pytest.assertion.rewrite import _get_assertion_exprs, rewrite_asserts

from pytest_gpuexp.assertion_log import CURRENT

_GATE = "@gpuexp_passing"


def assertion_source(path: Path, lineno: int) -> str:
    """Return the condition of the assert that begins at ``lineno``, as written; "" for none."""
    try:
        return _get_assertion_exprs(path.read_bytes()).get(lineno, "")
    except (OSError, SyntaxError):
        return ""


class _PassHookOn:
    """The session's config, but with ``enable_assertion_pass_hook`` on.

    The ini is global and not part of pytest's byte code key: switched on for all, it would cost
    ordinary tests, and a module cached without it would record nothing.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def getini(self, name: str) -> Any:
        return True if name == "enable_assertion_pass_hook" else self._config.getini(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


class _Gates(ast.NodeTransformer):
    """Ask ``CURRENT`` before the values of a passed assertion are put into words."""

    def visit_If(self, node: ast.If) -> ast.If:
        self.generic_visit(node)
        if not _is_call(node.test, "_check_if_assertion_pass_impl"):
            return node
        told = cast(ast.Expr, node.body[-1]).value
        lineno = cast(ast.Call, told).args[0]
        listening = node.test
        gate = ast.Call(ast.Name(_GATE, ast.Load()), [lineno], [])
        # The count first: it stands even where no hook listens.
        node.test = ast.BoolOp(ast.And(), [gate, listening])
        for new in (gate, gate.func, node.test):
            ast.copy_location(new, listening)
        return node


def _is_call(node: ast.expr, attribute: str) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == attribute
    )


class ExperimentLoader(importlib.machinery.SourceFileLoader):
    """Compile from source each time; a cache would have to know pytest's ini and our version."""

    def __init__(self, fullname: str, path: str, config: pytest.Config) -> None:
        super().__init__(fullname, path)
        self._config = config

    def get_code(self, fullname: str) -> types.CodeType:
        """Return the module's code with its assertions rewritten."""
        path = self.get_filename(fullname)
        source = self.get_data(path)
        tree = ast.parse(source, path)
        rewrite_asserts(tree, source, path, cast(pytest.Config, _PassHookOn(self._config)))
        return compile(_Gates().visit(tree), path, "exec", dont_inherit=True)

    def exec_module(self, module: types.ModuleType) -> None:
        """Execute the module, with a way to the count of its assertions."""
        path = self.get_filename(module.__name__)
        module.__dict__[_GATE] = functools.partial(CURRENT.passing, path)
        super().exec_module(module)


class ExperimentFinder(importlib.abc.MetaPathFinder):
    """Find modules that are experiments, and leave all others to Python."""

    def __init__(self, config: pytest.Config, is_experiment: Callable[[Path], bool]) -> None:
        self._config = config
        self._is_experiment = is_experiment

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a spec with our loader where ``fullname`` is an experiment's file."""
        if not self._is_experiment(Path(fullname.rpartition(".")[2] + ".py")):
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path)
        if found is None or found.origin is None or not self._is_experiment(Path(found.origin)):
            return None
        return importlib.util.spec_from_file_location(
            fullname, found.origin, loader=ExperimentLoader(fullname, found.origin, self._config)
        )

    def install(self) -> None:
        """Come before pytest's own import hook, once."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Leave the import system as it was."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
