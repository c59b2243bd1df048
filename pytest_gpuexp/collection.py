"""Experiment files as collected modules."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp import (
    binding,
    choosing,
    declarations,
    definitions,
    handlers,
    naming,
    ordering,
)
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.handlers import Handler
from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.judging import CriterionItem, ThresholdItem, criterion_items
from pytest_gpuexp.orders import Order
from pytest_gpuexp.overrides import Overrides, unknown_names
from pytest_gpuexp.records import Experiment, RunSpec
from pytest_gpuexp.rewriting import ExperimentFinder
from pytest_gpuexp.settings import Settings


class ExperimentModule(pytest.Module):
    """An ``exp_*.py`` file; ``kit`` is what its session gives it."""

    kit: Kit
    experiment: Experiment
    handlers: Sequence[Handler] = ()
    handlers_elsewhere: Sequence[Handler] = ()  # of an experiment that the session is not about

    def istestfunction(self, obj: object, name: str) -> bool:
        """Leave all functions to us."""
        return False

    def istestclass(self, obj: object, name: str) -> bool:
        """Leave all classes to us."""
        return False

    def prepare(self) -> None:
        """Import the module and make its fixtures, and ours, known; a worker needs no more."""
        self.kit.modules[self.path] = self  # pytest makes more modules of a file than it collects
        for _ in super().collect():
            pass  # what another plugin makes of a class or a function here is not a run
        pytest.register_fixture(name="runner", func=binding.runner, node=self)

    def collect(self) -> Iterable[pytest.Item]:
        """Yield the module's runs, handler by handler, then its criteria."""
        self.kit.on_module(self.path)
        self.prepare()
        if self.kit.overrides is None:
            return []
        try:
            if self.kit.order is None:
                self._read(self.kit.overrides)
            else:
                self._read_ordered(self.kit.order)
            self.experiment = self.kit.choice.informed(self.experiment)
            if not self.kit.choice.takes(self.experiment.experiment_id):
                self.handlers_elsewhere, self.handlers = self.handlers, ()
                return []
            chosen = [
                (handler, spec)
                for handler in self.handlers
                for spec in handler.specs
                if self.kit.choice.selects(spec)
            ]
            runs = [
                ExperimentItem.from_parent(
                    self,
                    name=spec.name,
                    # As text, which pytest takes apart as it does one that --lf or a report gives.
                    nodeid=f"{self.nodeid}::{spec.name}",
                    spec=spec,
                    handler=handler,
                )
                for handler, spec in chosen
                if self.kit.selects(spec)
            ]
            judges = criterion_items(
                self, self.experiment, self.handlers, criteria=self.kit.order is None
            )
        except UsageProblems as error:
            raise self.CollectError(str(error)) from None
        self.kit.filtered_out += len(chosen) - len(runs)
        return [*runs, *judges]

    def _read(self, overrides: Overrides) -> None:
        path = Path(os.path.relpath(self.path, self.config.rootpath)).as_posix()
        problems: list[str] = []
        self.experiment = Experiment(experiment_id="", path=path)
        try:
            self.experiment = declarations.read_experiment(self.obj, path)
        except UsageProblems as error:
            problems += error.problems
        read: list[Handler] = []
        for name, function in definitions.find_functions(self.obj, self.kit.functions, problems):
            handler = self._read_handler(name, function, overrides, problems)
            read += [handler] if handler else []
        if problems:
            raise UsageProblems(path, problems)
        self.handlers = tuple(read)

    def _read_ordered(self, order: Order) -> None:
        path = Path(os.path.relpath(self.path, self.config.rootpath)).as_posix()
        declared = declarations.read_experiment(self.obj, path)
        self.experiment = ordering.ordered_experiment(declared, order)
        self.handlers = tuple(
            ordering.ordered_handlers(
                self.obj, self.path, self.experiment, order, settings=self.kit.settings
            )
        )
        # One look a set of names: a config may lack what another one has.
        shapes = {
            (spec.function, *spec.parameters): spec
            for handler in self.handlers
            for spec in handler.specs
        }
        self.kit.refusals += [
            f"{path}: {problem}"
            for spec in shapes.values()
            for problem in binding.fixture_problems(self, spec)
        ]

    def _read_handler(
        self, name: str, function: Callable[..., Any], overrides: Overrides, problems: list[str]
    ) -> Handler | None:
        try:
            handler = handlers.read_handler(
                name, function, self.experiment, overrides=overrides, settings=self.kit.settings
            )
        except UsageProblems as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
            return None
        problems += binding.fixture_problems(self, handler.specs[0])
        return handler


class Kit:
    """The plugin that collects experiment files, and what they are expanded with."""

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        overrides: Overrides | None,
        order: Order | None = None,
        choice: choosing.Choice = choosing.Choice(),  # noqa: B008 -- frozen
    ) -> None:
        """Expand with ``overrides``; None makes modules importable but collects no runs.

        An ``order`` takes the place of what the files declare; ``choice`` narrows it.
        """
        self.choice = choice
        self.settings = settings
        self.overrides = overrides
        self.order = order
        self.named: set[Path] = set(order.paths) if order else set()
        self.refusals: list[str] = []
        self.functions: list[str] = config.getini("gpuexp_functions")
        self.modules: dict[Path, ExperimentModule] = {}
        self.filtered_out = 0
        self.on_module: Callable[[Path], None] = lambda path: None
        self._patterns: list[str] = config.getini("gpuexp_files")
        self._finder = ExperimentFinder(config, self.is_experiment)

    def is_experiment(self, path: Path) -> bool:
        """Return whether ``path`` is an experiment's by its name, or was named."""
        if naming.is_experiment(path, self._patterns):
            return True
        return path in self.named or str(path) in {one.name for one in self.named}

    def selects(self, spec: RunSpec) -> bool:
        """Return whether ``--gpuexp-filter`` keeps ``spec``."""
        expression = self.overrides.filter if self.overrides else None
        return expression is None or expression.evaluate({**spec.parameters, "seed": spec.seed})

    def take(
        self, file_path: Path, parent: pytest.Collector, collectors: list[pytest.Collector]
    ) -> list[pytest.Collector]:
        """Return ``collectors`` of an experiment's file with ours in the place of pytest's."""
        self._finder.install()
        module = ExperimentModule.from_parent(parent, path=file_path)
        module.kit = self
        others = [one for one in collectors if type(one) is not pytest.Module]
        return [*others, module]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Put criteria behind all runs, and check what only the whole session shows."""
        read = [module for module in self.modules.values() if module.handlers]
        if self.overrides is not None and self.modules:
            session = next(iter(self.modules.values())).session
            ids = _handler_ids(self.modules.values())
            items += choosing.missing_items(session, self.choice, ids)
        if not read or self.overrides is None:
            return
        problems = _clashes(read) + self.refusals
        problems += unknown_names(self.overrides, _known_names(read))
        if problems:
            raise pytest.UsageError(str(UsageProblems("experiments", problems)))
        last = [item for item in items if isinstance(item, (CriterionItem, ThresholdItem))]
        if last:
            rest = [item for item in items if not isinstance(item, (CriterionItem, ThresholdItem))]
            items[:] = [*rest, *last]

    def pytest_unconfigure(self) -> None:
        """Leave the import system as it was."""
        self._finder.remove()


def _handler_ids(modules: Iterable[ExperimentModule]) -> dict[str, list[str]]:
    """Return the handlers that were collected, by experiment."""
    ids: dict[str, list[str]] = {}
    for module in modules:
        for handler in [*module.handlers, *module.handlers_elsewhere]:
            ids.setdefault(module.experiment.experiment_id, []).append(handler.handler_id)
    return ids


def _clashes(modules: Iterable[ExperimentModule]) -> list[str]:
    first: dict[str, str] = {}
    problems: list[str] = []
    for module in modules:
        mine = module.experiment
        other = first.setdefault(mine.experiment_id, mine.path)
        if other != mine.path:
            problems.append(
                f"{other} and {mine.path} are both experiment {mine.experiment_id!r}; "
                "rename one, or they would share their results"
            )
    return problems


def _known_names(modules: Iterable[ExperimentModule]) -> set[str]:
    return {
        name
        for module in modules
        for handler in module.handlers
        for name in {*handler.specs[0].parameters, *handlers.arguments(handler.function)}
        - {"runner", "request"}
    }
