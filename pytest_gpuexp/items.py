"""A run as the controller holds it: a light item."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.handlers import Handler
from pytest_gpuexp.records import RunSpec


class ExperimentItem(pytest.Item):
    """One run, as the controller holds it: enough to select, show and dispatch it.

    It is not a pytest Function, so that ten thousand of them cost little; the real item is built
    where the run executes.
    """

    def __init__(self, *, spec: RunSpec, handler: Handler, **keywords: Any) -> None:
        """Stand for ``spec``, with the marks of ``handler``."""
        super().__init__(**keywords)
        self.spec = spec
        self.handler = handler
        self.own_markers.extend(handler.marks)
        # As pytest's own functions have them: conftests ask for `"slow" in item.keywords`.
        self.keywords.update((mark.name, mark) for mark in handler.marks)
        for row in handler.rows_of(spec) if handler.rows else ():
            self.extra_keyword_matches.update(row.words)
            for mark in row.marks:
                self.add_marker(
                    getattr(pytest.mark, mark.name).with_args(*mark.args, **mark.kwargs)
                )

    @property
    def obj(self) -> Callable[..., Any]:
        """The handler; pytest evaluates the conditions of marks in its globals."""
        return self.handler.function

    @property
    def function(self) -> Callable[..., Any]:
        """The handler, where ``-k`` looks for its attributes."""
        return self.handler.function

    def added_marks(self) -> list[pytest.Mark]:
        """Return the marks that the handler does not have: of its row, or added by a conftest."""
        known = list(self.handler.marks)
        return [mark for mark in self.own_markers if mark not in known]

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Return where the handler stands."""
        return self.path, self.handler.function.__code__.co_firstlineno - 1, self.name

    def runtest(self) -> None:
        """Refuse: a run is dispatched, never executed in the controller's own loop."""
        raise GpuexpError(
            f"{self.nodeid} was run by another plugin's loop. Let pytest-gpuexp dispatch it: "
            "leave out the plugin that replaces pytest_runtestloop."
        )
