"""Where the code of a handler and of its fixtures stands, and what it comes to."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp import binding
from pytest_gpuexp.fingerprint import Start, Tracer
from pytest_gpuexp.items import ExperimentItem

_ALL = "*"  # bound by nothing, so all of the file counts
_XUNIT = ("setup_module", "setup_function", "teardown_module", "teardown_function")
# Hooks of a conftest that can change what a handler finds; the others plan, select and report.
_HOOKS = (
    "pytest_configure",
    "pytest_sessionstart",
    "pytest_runtest",
    "pytest_fixture",
    "pytest_py",
)
_INSTALLED = {"site-packages", "dist-packages"}


class Origins:
    """The fingerprints of a session's handlers, each worked out at the first question."""

    def __init__(self, root: Path) -> None:
        """Count the files below ``root`` as the project's, less what is installed there."""
        self._root = root
        self._located: dict[str, Path | None] = {}
        self._tracer = Tracer(root, self._locate)
        self._known: dict[tuple[Path, str], Mapping[str, str]] = {}

    def fingerprint(self, item: ExperimentItem) -> Mapping[str, str]:
        """Return the fingerprint of the code that ``item`` and its like execute."""
        key = (item.path, item.spec.function)
        if key not in self._known:
            self._known[key] = self._tracer.fingerprint(self._starts(item))
        return self._known[key]

    def _starts(self, item: ExperimentItem) -> Iterator[Start]:
        yield item.path, item.spec.function
        module = item.parent
        assert isinstance(module, pytest.Module)  # ExperimentModule makes these items
        handler = inspect.unwrap(getattr(module.obj, item.spec.function))
        at_will = "request" in inspect.signature(handler).parameters  # it may ask for any fixture
        yield from ((item.path, name) for name in _XUNIT if name in vars(module.obj))
        if at_will:
            yield item.path, _ALL
        for plugin in item.config.pluginmanager.get_plugins():
            path = Path(getattr(plugin, "__file__", None) or "")
            if path.name == "conftest.py" and item.path.is_relative_to(path.parent):
                yield path, _ALL if at_will else ""
                yield from ((path, name) for name in vars(plugin) if name.startswith(_HOOKS))
        for function in binding.fixture_functions(module, item.spec):
            yield from self._fixture_starts(function)

    def _fixture_starts(self, function: Callable[..., Any]) -> Iterator[Start]:
        for one in (function, inspect.unwrap(function)):
            code = getattr(one, "__code__", None)
            module = sys.modules.get(getattr(one, "__module__", ""))
            files = [getattr(code, "co_filename", None), getattr(module, "__file__", None)]
            name = getattr(one, "__qualname__", _ALL).partition(".")[0]
            for file in files:
                if file is not None and self._is_ours(Path(file)):
                    yield Path(file), name

    def _locate(self, dotted: str) -> Path | None:
        if dotted not in self._located:
            self._located[dotted] = self._search(dotted)
        return self._located[dotted]

    def _search(self, dotted: str) -> Path | None:
        if dotted.partition(".")[0] == "pytest_gpuexp":
            return None
        loaded = getattr(sys.modules.get(dotted), "__file__", None)
        if loaded is not None:
            return Path(loaded) if self._is_ours(Path(loaded)) else None
        words = dotted.split(".")
        for folder in self._folders:
            place = os.path.join(folder, *words)
            for name in (os.path.join(place, "__init__.py"), f"{place}.py"):
                if os.path.isfile(name) and self._is_ours(Path(name)):
                    return Path(name)
        return None

    @cached_property
    def _folders(self) -> list[str]:
        """The folders of the project in which its modules are looked for, once all is collected."""
        folders = [os.path.abspath(entry) for entry in (*sys.path, str(self._root))]
        root = self._root.resolve()
        return [one for one in dict.fromkeys(folders) if Path(one).resolve().is_relative_to(root)]

    def _is_ours(self, path: Path) -> bool:
        path, root = path.resolve(), self._root.resolve()
        if path.suffix != ".py" or not path.is_relative_to(root):
            return False
        parts = path.relative_to(root).parts
        return not _INSTALLED.intersection(parts) and "pytest_gpuexp" not in parts[:1]
