"""The door: what pytest sees of this plugin until a session holds an experiment."""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp import hookspecs, naming, options
from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.markers import MARKERS

_TAKEN = pytest.StashKey[list[str]]()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the canonical options."""
    options.add_options(parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser) -> Any:
    """Declare the short options once every conftest has had its say."""
    result = yield
    early_config.stash[_TAKEN] = options.add_short_options(parser)
    return result


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and stand at the door; a worker brings its own rooms."""
    for name, text in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {text}")
    if not config.pluginmanager.hasplugin("gpuexp-worker"):
        config.pluginmanager.register(_Door(config), "gpuexp-door")


class _Door:
    """Opens the rooms when the first experiment file turns up: unused, they cost nothing."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._patterns: list[str] = config.getini("gpuexp_files")
        self._experiments_elsewhere = False
        self._resumption: list[str] = []
        self._refusal: pytest.UsageError | None = None
        self._forerunner: Any = None
        self._named: set[Path] | None = None
        if config.option.gpuexp_stage:
            staging = _room(config, "pytest_gpuexp.staging")
            self._named = set(staging.read_order(config, config.option.gpuexp_stage).paths)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> Any:
        collectors = yield
        asked = (parent.session.isinitpath(path) for path in (file_path, *file_path.parents))
        if self._named is not None:
            if file_path not in self._named:
                return [] if naming.is_experiment(file_path, self._patterns) else collectors
        elif not naming.is_experiment(file_path, self._patterns) or not any(asked):
            return collectors  # pytest looks at the neighbours of the files that it was given
        if self._refusal is not None:
            return []  # it was said once
        try:
            return self._open().kit.take(file_path, parent, collectors)
        except pytest.UsageError as error:
            self._refusal = error  # raised here, it would pass for an error of this one file
            return []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Any:
        """Refuse for the true reason: pytest says that a file without a collector is not found."""
        try:
            try:
                return (yield)
            finally:
                if self._refusal is not None:
                    raise self._refusal from None
        except (pytest.UsageError, GpuexpError) as error:
            if hasattr(self._config, "workerinput"):
                session.shouldfail = str(error)  # all that xdist passes on of a worker's refusal
            if isinstance(error, GpuexpError):  # a bucket that went away before the plan
                raise pytest.UsageError(str(error)) from error
            raise

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Any:
        """Under xdist: judge in the controller, which has no items, once the workers are done."""
        try:
            result = yield
            if self._experiments_elsewhere:
                self._open().judge_alone(session, resumption=self._resumption)
        except KeyboardInterrupt:
            manager = self._config.pluginmanager
            if manager.hasplugin("dsession") and manager.hasplugin("gpuexp-controller"):
                with contextlib.suppress(session.Failed):  # after -x pytest collects no more
                    # What has ended is told, though not judged.
                    self._open().collect_alone(session, resumption=self._resumption)
            raise
        except GpuexpError as error:  # a full disk is no internal error of pytest's
            raise pytest.UsageError(str(error)) from error
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Under xdist: learn whether a worker has collected experiments."""
        output = getattr(node, "workeroutput", None) or {}
        self._experiments_elsewhere |= bool(output.get("gpuexp_experiments"))
        self._resumption = self._resumption or output.get("gpuexp_resumption", [])

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Any:
        """Under xdist: know a crash for one, though no experiment is collected here yet."""
        if getattr(report, "gpuexp", None) is None:
            return None
        return self._open().pytest_report_teststatus(report)

    def _open(self) -> Any:
        """Return the controller; the rooms are imported as a plugin is, by name."""
        manager = self._config.pluginmanager
        controller = manager.get_plugin("gpuexp-controller")
        if controller is None:
            self._send_ahead()  # it starts while the rooms are imported
            opening = _room(self._config, "pytest_gpuexp.opening")
            controller = opening.open_controller(self._config, self._config.stash[_TAKEN])
            manager.register(controller, "gpuexp-controller")
        return controller

    def _send_ahead(self) -> None:
        # Late: sessions without experiments do without them.
        asked = importlib.import_module("pytest_gpuexp.asked")
        ahead = importlib.import_module("pytest_gpuexp.forerunner")
        # A worker starts no workers.
        if ahead.MARK not in os.environ and asked.foresees_local_runs(self._config):
            with contextlib.suppress(OSError):  # who needs it will start it, and say what is wrong
                self._forerunner = ahead.Forerunner(os.environ)
                self._config.pluginmanager.register(self._forerunner, "gpuexp-forerunner")

    def pytest_unconfigure(self) -> None:
        """End what was sent ahead in vain."""
        if self._forerunner is not None:
            self._forerunner.dismiss()


def _room(config: pytest.Config, name: str) -> Any:
    """Import a room as a plugin is, by name, and return it."""
    config.pluginmanager.import_plugin(name)
    return config.pluginmanager.get_plugin(name)
