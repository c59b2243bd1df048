"""What the words of a command line make of a stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_gpuexp import composition, overrides
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.stages import StageConfig, StageFile

_LISTS = ("architectures", "datasets", "seeds")
_SINGLE = ("name", "handler", "gpu_type", "timeout_seconds", "metric", "direction")
_SESSION = ("run_on_modal", "backend", "storage", "parallelism", "resume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A stage as the command line wants it; ``session`` are choices of how it is run."""

    file: StageFile
    session: Mapping[str, Any] = field(default_factory=dict)


def apply_words(file: StageFile, words: Sequence[str]) -> Asked:
    """Return ``file`` with ``words`` such as ``run_on_modal=true`` and ``lr=1e-4,1e-3`` applied.

    They are in Hydra's override grammar where hydra-core is installed, else ``key=value,value``. A
    key is one of the session's choices, a field of the stage, a hyperparameter, or one of the base
    config; several values of the last make a hyperparameter of it.

    Raises:
        UsageProblems: words that cannot be read or make no sense; all are told.
    """
    problems: list[str] = []
    stage: dict[str, Any] = {}
    session: dict[str, Any] = {}
    space = dict(file.stage.hyperparameter_space)
    base: dict[str, Any] = {}
    for key, values in _read(words):
        if key in _LISTS:
            stage[key] = values[0] if _is_whole(key, values) else values
        elif key in space or (len(values) > 1 and key not in (*_SESSION, *_SINGLE)):
            space[key] = values
            base.pop(key, None)
        elif len(values) > 1:
            problems.append(f"{key}={','.join(map(str, values))}: it takes one value")
        elif key in (*_SESSION, *_SINGLE):
            (session if key in _SESSION else stage)[key] = values[0]
        else:
            base[key] = values[0]
    problems += _session_problems(session)
    try:
        changed = _changed(file, {**stage, "hyperparameter_space": space}, base)
    except UsageProblems as error:
        problems += error.problems
    if problems:
        raise UsageProblems("overrides", problems)
    return Asked(file=changed, session=session)


def _read(words: Sequence[str]) -> list[tuple[str, list[Any]]]:
    if composition.is_installed():
        pairs = composition.parse_overrides(words)
    else:
        read = overrides.parse_overrides(None, [], words, None)
        pairs = [(key, list(values)) for key, values in {**read.axes, **read.added}.items()]
    # `seed` is a config's word; of a stage it means the seeds themselves, never their count.
    return [("seeds", [_several(them)]) if key == "seed" else (key, them) for key, them in pairs]


def _several(values: list[Any]) -> list[Any]:
    """Return the seeds of ``seed=3``, ``seed=3,4`` and ``seed=[3,4]``."""
    return values[0] if len(values) == 1 and isinstance(values[0], list) else values


def _is_whole(key: str, values: Sequence[Any]) -> bool:
    """Return whether the one value is all: ``seeds=3`` is a count, ``seeds=[0,7]`` a list."""
    return len(values) == 1 and (isinstance(values[0], list) or key == "seeds")


def _changed(file: StageFile, stage: Mapping[str, Any], base: Mapping[str, Any]) -> StageFile:
    fields = {one.name: getattr(file.stage, one.name) for one in dataclasses.fields(StageConfig)}
    config = file.base_config
    if base:
        if isinstance(config, str):
            told = f"the base config is {config!r} by name; {', '.join(base)} cannot change it"
            raise UsageProblems("base_config", [told])
        config = _nested(config, base)
    return dataclasses.replace(file, stage=StageConfig(**{**fields, **stage}), base_config=config)


def _nested(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: _copy(value) for key, value in config.items()}
    for name, value in changes.items():
        *folders, last = name.split(".")
        place = merged
        for folder in folders:
            inner = place.setdefault(folder, {})
            if not isinstance(inner, dict):
                raise UsageProblems("base_config", [f"{name}: {folder} has nothing in it"])
            place = inner
        place[last] = value
    return merged


def _copy(value: Any) -> Any:
    return {key: _copy(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def _session_problems(session: Mapping[str, Any]) -> list[str]:
    problems = [
        f"{key}: {session[key]!r} is not true or false"
        for key in ("run_on_modal", "resume")
        if not isinstance(session.get(key, False), bool)
    ]
    if session.get("run_on_modal") and session.get("backend") not in (None, "modal"):
        problems.append(f"run_on_modal and backend={session['backend']} exclude each other")
    parallelism = session.get("parallelism", 1)
    if type(parallelism) is not int or parallelism < 1:
        problems.append(f"parallelism: {parallelism!r} is not a number above 0")
    return problems
