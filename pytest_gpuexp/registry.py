"""The plan of a project's research: its experiments, and what each of them waits for."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_gpuexp import documents
from pytest_gpuexp.errors import StorageError, UsageProblems
from pytest_gpuexp.identifiers import folder_problem
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.records import Threshold
from pytest_gpuexp.results import results_name
from pytest_gpuexp.thresholds import read_thresholds

DONE = ("completed", "done", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One experiment of the plan; ``sub_experiments`` are their descriptions by id."""

    experiment_id: str
    name: str = ""
    description: str = ""
    status: str = "pending"
    sub_experiments: Mapping[str, str] = field(default_factory=dict)
    success_criteria: Mapping[str, Threshold] = field(default_factory=dict)
    dependencies: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an experiment stands: its status in words, and whether its claim is met, if known."""

    told: str
    met: bool | None


def read_registry(path: Path) -> dict[str, Planned]:
    """Return the experiments of the registry file at ``path``, by id, in its order.

    ``experiments`` is a mapping by id, or a list of mappings that have an ``experiment_id``. Keys
    that are not known are left to others.

    Raises:
        StorageError: there is no such file, or it is no YAML.
        UsageProblems: something in it makes no sense; all problems.
    """
    try:
        data = documents.load(path.read_bytes(), place=str(path))
    except OSError as error:
        raise StorageError(f"the registry {path} cannot be read: {error.strerror}.") from None
    entries = data.get("experiments") if isinstance(data, Mapping) else None
    if not isinstance(entries, (Mapping, list)) or not entries:
        raise UsageProblems(str(path), ["it has no experiments: a mapping of ids to what they are"])
    problems: list[str] = []
    plan: dict[str, Planned] = {}
    for identity, entry in _entries(entries):
        if problem := folder_problem(identity):
            problems.append(problem)
        elif not isinstance(entry, Mapping):
            problems.append(f"{identity}: it is {entry!r}, not a mapping")
        elif identity in plan:
            problems.append(f"{identity}: it stands there twice")
        else:
            plan[identity] = _planned(identity, entry, problems)
    problems += [
        f"{one.experiment_id}: it depends on {other!r}, which is not there ({', '.join(plan)})"
        for one in plan.values()
        for other in one.dependencies
        if other not in plan
    ]
    problems += _circles(plan)
    if problems:
        raise UsageProblems(str(path), problems)
    return plan


def standings(plan: Mapping[str, Planned], storage: Storage) -> dict[str, Standing]:
    """Return where each experiment of ``plan`` stands, by its results, else by the plan's word."""
    return {identity: _standing(planned, storage) for identity, planned in plan.items()}


def in_order(plan: Mapping[str, Planned]) -> dict[str, int]:
    """Return the place of each experiment where all that it depends on stands before it."""
    graph = {identity: planned.dependencies for identity, planned in plan.items()}
    ordered = graphlib.TopologicalSorter(graph).static_order()
    return {identity: place for place, identity in enumerate(ordered)}


def unmet(
    plan: Mapping[str, Planned], known: Mapping[str, Standing], wanted: Iterable[str]
) -> list[str]:
    """Return a sentence for each dependency of the ``wanted`` experiments that is not met."""
    return [
        f"{identity} depends on {other}, which is not met ({known[other].told})"
        for identity in wanted
        if identity in plan
        for other in plan[identity].dependencies
        if not known[other].met
    ]


def _standing(planned: Planned, storage: Storage) -> Standing:
    name = results_name(planned.experiment_id)
    document: Any = None
    try:
        document = documents.load(storage.read(name), place=name)
    except FileNotFoundError:
        met = True if planned.status in DONE else None
        return Standing(told=f"{planned.status}, no results", met=met)
    except StorageError:
        pass  # told below, with what is no report
    assessment = (document.get("assessment") or {}) if isinstance(document, Mapping) else None
    if not isinstance(assessment, Mapping):
        return Standing(told=f"{planned.status}, its results cannot be read", met=None)
    met, word = _verdict(assessment)
    return Standing(told=f"{document.get('status', 'unknown')}, {word}", met=met)


def _verdict(assessment: Mapping[str, Any]) -> tuple[bool | None, str]:
    """Return whether a claim is met, and the word for it; without thresholds asserts decide."""
    met = assessment.get("success_criteria_met")
    if met is not None:
        return bool(met), "met" if met else "not met"
    verdict = assessment.get("verdict")
    if verdict in ("pass", "fail"):
        return verdict == "pass", "passed" if verdict == "pass" else "failed"
    return None, "not judged"


def _entries(entries: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(entries, Mapping):
        yield from entries.items()
        return
    for entry in entries:
        known = isinstance(entry, Mapping)
        yield (entry.get("experiment_id", entry.get("id")) if known else entry), entry


def _planned(identity: str, entry: Mapping[str, Any], problems: list[str]) -> Planned:
    subs = entry.get("sub_experiments") or {}
    if isinstance(subs, list):
        subs = dict(_sub(one) for one in subs)
    if not isinstance(subs, Mapping):
        problems.append(f"{identity}: sub_experiments is neither a list nor a mapping")
        subs = {}
    thresholds, found = read_thresholds(entry.get("success_criteria") or {})
    problems += [f"{identity}: success_criteria: {problem}" for problem in found]
    dependencies = entry.get("dependencies") or []
    if not isinstance(dependencies, list):
        problems.append(f"{identity}: dependencies is not a list")
        dependencies = []
    return Planned(
        experiment_id=identity,
        name=str(entry.get("name") or identity),
        description=str(entry.get("description") or ""),
        status=str(entry.get("status") or "pending"),
        sub_experiments={str(key): _described(value) for key, value in subs.items()},
        success_criteria=thresholds,
        dependencies=[str(one) for one in dependencies],
    )


def _sub(entry: Any) -> tuple[str, Any]:
    if isinstance(entry, Mapping):
        return str(entry.get("id", entry.get("name", ""))), entry
    return str(entry), ""


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("description") or value.get("name") or "")
    return str(value or "")


def _circles(plan: Mapping[str, Planned]) -> list[str]:
    left = {key: {one for one in entry.dependencies if one in plan} for key, entry in plan.items()}
    while free := [key for key, waits in left.items() if not waits & left.keys()]:
        for key in free:
            del left[key]
    return [f"these wait for each other: {', '.join(sorted(left))}"] if left else []
