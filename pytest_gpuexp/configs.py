"""What a config comes to as a run: its parameters, its seed, its function."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from pytest_gpuexp import composition, provenance, targets
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.identifiers import name_problem, value_text
from pytest_gpuexp.orders import RunRequest, labelled
from pytest_gpuexp.records import Plain
from pytest_gpuexp.values import NotPlain, describe, make_plain, read_seeds

_RUN_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,119}")
OURS = ("_target_", "run_id", "seed", "handler")


def read_configs(configs: Sequence[Mapping[str, Any]], folder: Path) -> list[RunRequest]:
    """Return the runs that ``configs`` mean, in their order.

    A config names its function by ``_target_``, and may have ``run_id`` and ``seed`` (default 0);
    all else are parameters. ``folder`` is where relative node ids and paths start.

    Raises:
        UsageProblems: some cannot be run; every problem of every config is told.
    """
    problems: list[str] = []
    requests: list[RunRequest] = []
    seen: dict[str, int] = {}
    for index, config in enumerate(configs):
        found: list[str] = []
        request = _read(config, folder, found)
        problems += [f"configs[{index}]: {problem}" for problem in found]
        if request is None:
            continue
        first = seen.setdefault(_identity(request), index)
        if first != index:
            problems.append(
                f"configs[{index}]: it is the same run as configs[{first}]; give it another seed "
                "or a run_id of its own"
            )
        requests.append(request)
    if problems:
        raise UsageProblems("configs", problems)
    return labelled(requests)


def flat_parameters(
    config: Mapping[str, Any], folder: Path, problems: list[str]
) -> dict[str, Plain]:
    """Return ``config`` with nested names dotted, and paths below ``folder`` relative to it.

    So a worker with another folder finds them. ``problems`` gets what no worker could be given:
    values that are not plain, references to the environment, secrets.
    """
    parameters: dict[str, Plain] = {}
    for name, value in leaves(config):
        problem = _leaf_problem(name, value)
        if problem:
            problems.append(f"{name}: {problem}")
            continue
        try:
            parameters[name] = make_plain(_rebased(value, folder))
        except NotPlain as refused:
            problems.append(f"{name}: {describe(value)} cannot be a parameter: {refused}")
    return parameters


def leaves(config: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each parameter that ``config`` comes to."""
    for key, value in config.items():
        name = f"{place}.{key}" if place else str(key)
        if isinstance(value, Mapping) and value and all(_is_name(one) for one in value):
            yield from leaves(value, name)
        else:
            yield name, value


def _read(config: object, folder: Path, problems: list[str]) -> RunRequest | None:
    try:
        plain = composition.to_plain(config)
    except UsageProblems as error:
        problems += error.problems
        plain = composition.unresolved(config)  # for what else is wrong with it
    if not isinstance(plain, Mapping):
        problems.append(f"it is {describe(config)}, not a mapping")
        return None
    given = dict(plain)
    target, run_id = given.pop("_target_", given.pop("handler", None)), given.pop("run_id", "")
    seed = given.pop("seed", 0)
    seeds, found = read_seeds("seed", [seed])
    problems += found
    if run_id and (not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id)):
        problems.append(f"run_id: {run_id!r} names a file: letters, digits, '-', '_' and '.'")
    path, function = "", ""
    try:
        path, function = targets.find_target(target, folder)
    except UsageProblems as error:
        problems += [f"{error.subject}: {problem}" for problem in error.problems]
    parameters = flat_parameters(given, folder, problems)
    if problems:
        return None
    return RunRequest(
        path=path, function=function, parameters=parameters, seed=seeds[0], run_id=str(run_id)
    )


def _is_name(key: object) -> bool:
    return isinstance(key, str) and all(part.isidentifier() for part in key.split("."))


def _leaf_problem(name: str, value: object) -> str | None:
    if problem := name_problem(name):
        return problem
    if isinstance(value, str) and value and provenance.names_secret(name):
        return (
            "it looks like a secret, and a config is written into every record; leave it out, and "
            "read it from the environment in the handler"
        )
    if value == "???":
        return "it is missing ('???'); give it a value"
    return None


def _rebased(value: Any, folder: Path) -> Any:
    """Return a path below ``folder`` relative to it, where a worker's own folder stands for it."""
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, str) and os.path.isabs(value) and Path(value).is_relative_to(folder):
        return os.path.relpath(value, folder)
    return value


def _identity(request: RunRequest) -> str:
    return request.run_id or value_text([request.target, request.seed, dict(request.parameters)])
