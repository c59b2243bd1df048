"""The plugin by which a session tells the program that ordered it how its runs end."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp import schema
from pytest_gpuexp.records import ExperimentResult, Outcome

FILE = "PYTEST_GPUEXP_REPLIES"  # where to, in the environment
PARENT = "PYTEST_GPUEXP_PARENT"  # without this process the session ends, unless it is detached


class Replies:
    """Appends a line of JSON for each run that ends, for each file that cannot be collected."""

    def __init__(self, config: pytest.Config, file: Path, parent: int | None) -> None:
        """Write to ``file``; end the session where ``parent`` is given and gone."""
        self._config = config
        self._file = file
        self._parent = parent
        self._told: set[str] = set()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tell why a file has no runs."""
        if report.failed:
            path = self._config.rootpath / report.nodeid.partition("::")[0]
            self._write({"path": os.path.abspath(path), "trouble": str(report.longrepr)})

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Tell which runs there are, before any has begun."""
        items = [item for item in session.items if hasattr(item, "spec")]
        if items:
            planned = [[str(one.path), one.name, getattr(one, "spec").run_id] for one in items]  # noqa: B009
            self._write({"planned": planned})

    def pytest_gpuexp_run_finished(self, outcome: Outcome) -> None:
        """Tell how a run has ended."""
        self._tell(outcome.result)
        if self._parent is not None and os.getppid() != self._parent:
            os.kill(os.getpid(), signal.SIGINT)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Tell what the session keeps of earlier ones, and that it has come to its end."""
        controller: Any = self._config.pluginmanager.get_plugin("gpuexp-controller")
        for result in controller.ended() if controller is not None else ():
            self._tell(result)
        self._write({"exit": int(exitstatus)})

    def _tell(self, result: ExperimentResult) -> None:
        if result.run_id not in self._told:
            self._told.add(result.run_id)
            self._write({"result": schema.record_to_plain(result, with_provenance=False)})

    def _write(self, line: dict[str, Any]) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    """Reply where the session was asked to; a worker's and its children's are not."""
    file = os.environ.pop(FILE, None)
    parent = os.environ.pop(PARENT, None)
    if file is not None:
        replies = Replies(config, Path(file), int(parent) if parent else None)
        config.pluginmanager.register(replies, "gpuexp-replies")
