"""Where the code of a handler and of its fixtures stands, and what it comes to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import pytest

from pytest_gpuexp import binding
from pytest_gpuexp.collection import ExperimentItem
from pytest_gpuexp.fingerprint import Start, Tracer

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
        for function in binding.fixture_functions(module, item.spec):
            code = getattr(function, "__code__", None)
            path = Path(code.co_filename) if code is not None else None
            if path is not None and self._is_ours(path):
                yield path, function.__qualname__.partition(".")[0]

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
        return [one for one in dict.fromkeys(folders) if Path(one).is_relative_to(self._root)]

    def _is_ours(self, path: Path) -> bool:
        if path.suffix != ".py" or not path.is_relative_to(self._root):
            return False
        parts = path.relative_to(self._root).parts
        return not _INSTALLED.intersection(parts) and "pytest_gpuexp" not in parts[:1]
