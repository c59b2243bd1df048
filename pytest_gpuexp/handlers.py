"""A handler with every run that it stands for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_gpuexp import declarations, identifiers, sweep
from pytest_gpuexp.declarations import Row
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.identifiers import handler_id
from pytest_gpuexp.overrides import Overrides
from pytest_gpuexp.records import Experiment, RunSpec
from pytest_gpuexp.retrying import Retries
from pytest_gpuexp.settings import Settings

_NEVER_PARAMETERS = {"runner", "request"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """One handler with all its runs, before any is deselected.

    ``marks`` are its own, and ``rows`` what ``parametrize`` says of single rows, by their names and
    their text. ``retries`` says when its runs are attempted again.
    """

    handler_id: str
    function: Callable[..., Any]
    specs: tuple[RunSpec, ...]
    variants: Mapping[str, tuple[RunSpec, ...]]
    marks: tuple[pytest.Mark, ...]
    rows: Mapping[tuple[str, ...], Mapping[str, Row]] = field(default_factory=dict)
    retries: Retries | None = None

    def rows_of(self, spec: RunSpec) -> list[Row]:
        """Return what ``parametrize`` says of the rows that ``spec`` came from."""
        found: list[Row] = []
        for names, by_text in self.rows.items():
            if all(name in spec.parameters for name in names):
                text = identifiers.row_text(names, [spec.parameters[name] for name in names])
                found += [by_text[text]] if text in by_text else []
        return found


def read_handler(
    name: str,
    function: Callable[..., Any],
    experiment: Experiment,
    *,
    overrides: Overrides,
    settings: Settings,
) -> Handler:
    """Expand one handler into its runs.

    Raises:
        UsageProblems: its marks cannot be read; all problems found.
    """
    subject = f"{experiment.path}::{name}"
    marks = declarations.marks_for(function)
    groups, rows = declarations.groups_of(marks)
    problems: list[str] = []
    seeds = declarations.seeds_of(marks, problems)
    machine = declarations.machine_of(marks, settings, problems)
    retries = declarations.retries_of(marks, settings, problems)
    points: list[sweep.Point] = []
    try:
        points = sweep.expand(
            groups,
            seeds,
            overrides=Overrides(seeds=overrides.seeds, axes=overrides.axes, added=overrides.added),
            accepted=arguments(function) - _NEVER_PARAMETERS - {"seed"},
            subject=subject,
        )
    except UsageProblems as error:
        problems += error.problems
    if problems:
        raise UsageProblems(subject, problems)
    variants: dict[str, list[RunSpec]] = {}
    for point in points:
        spec = _spec(name, experiment, point, machine)
        variants.setdefault(point.variant, []).append(spec)
    return Handler(
        handler_id=handler_id(name),
        function=function,
        specs=tuple(spec for specs in variants.values() for spec in specs),
        variants={variant: tuple(specs) for variant, specs in variants.items()},
        marks=tuple(declarations.marks_of(function)),
        rows=_by_text(rows),
        retries=retries,
    )


def _by_text(rows: Iterable[Row]) -> dict[tuple[str, ...], dict[str, Row]]:
    """Return ``rows`` by names and text: ten thousand runs look theirs up."""
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row.names, {})[row.text] = row
    return found


def arguments(function: Callable[..., Any]) -> set[str]:
    """Return the names that a handler can be given."""
    return {
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def _spec(
    name: str, experiment: Experiment, point: sweep.Point, machine: Mapping[str, Any]
) -> RunSpec:
    identity = handler_id(name)
    return RunSpec(
        experiment_id=experiment.experiment_id,
        handler=identity,
        function=name,
        path=experiment.path,
        name=f"{name}[{point.id}]" if point.id else name,
        parameters=point.parameters,
        seed=point.seed,
        run_id=identifiers.run_id(experiment.experiment_id, identity, point.parameters, point.seed),
        **machine,
    )
