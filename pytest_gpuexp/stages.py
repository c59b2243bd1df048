"""A stage: a named batch of runs, as it is written down."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from pytest_gpuexp import documents, tiers
from pytest_gpuexp.errors import StorageError, UsageProblems
from pytest_gpuexp.identifiers import name_problem
from pytest_gpuexp.records import Plain, Threshold
from pytest_gpuexp.thresholds import read_thresholds
from pytest_gpuexp.values import read_items, read_seeds, read_values

Direction = Literal["at_least", "at_most"]
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_BESIDE = ("base_config", "base_config_path")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """A stage: ``architectures`` x ``datasets`` x ``hyperparameter_space`` x ``seeds``.

    ``handler`` is ``experiments/exp_file.py::function`` or ``package.module.function``; without it
    the base config's ``_target_`` says what to run. With a ``base_config_path`` architectures and
    datasets are config files below it, as ``models/gnn/standard``; else they are the values of
    the parameters ``architecture`` and ``dataset``. ``seeds`` are a count or the seeds. ``metric``
    and ``direction`` choose the best variant; without them the first of the ``success_criteria``
    does, and without those ``val_loss``, the smaller the better.

    Raises:
        UsageProblems: something of it makes no sense; all that does not is told.
    """

    name: str
    handler: str = ""
    architectures: Sequence[str] = ()
    datasets: Sequence[str] = ()
    hyperparameter_space: Mapping[str, Sequence[Plain]] = field(default_factory=dict)
    seeds: int | Sequence[int] = (0,)
    success_criteria: Mapping[str, Any] = field(default_factory=dict)
    gpu_type: str | None = None
    timeout_seconds: float | None = None
    metric: str | None = None
    direction: Direction | None = None

    def __post_init__(self) -> None:
        """Check and make plain what was given."""
        problems: list[str] = []
        if not _NAME.fullmatch(str(self.name)):
            problems.append(f"name: {self.name!r} names a file: letters, digits, '-', '_', '.'")
        for name in ("architectures", "datasets"):
            self._set(name, _read_words(name, getattr(self, name), problems))
        self._set("hyperparameter_space", _read_space(self.hyperparameter_space, problems))
        seeds, found = read_seeds("seeds", self.seeds)
        problems += found
        self._set("seeds", seeds)
        self._set("success_criteria", _read_criteria(self.success_criteria, problems))
        if self.gpu_type is not None and not _ok(self.gpu_type):  # which there are the project says
            problems.append(f"gpu_type: {self.gpu_type!r} is no name")
        problems += tiers.timeout_problems(self.timeout_seconds)
        if self.direction not in (None, "at_least", "at_most"):
            problems.append(f"direction: {self.direction!r} is not 'at_least' or 'at_most'")
        elif self.direction and not self.metric:
            problems.append("direction: it says nothing without a metric; name that, too")
        if self.metric and not self.direction and self.metric not in self.success_criteria:
            problems.append(f"direction: say which {self.metric} is better, at_least or at_most")
        if problems:
            raise UsageProblems("StageConfig", problems)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def size(self) -> int:
        """Return the number of runs."""
        size = max(1, len(self.architectures)) * max(1, len(self.datasets))
        for values in self.hyperparameter_space.values():
            size *= len(values)
        return size * len(cast(Sequence[int], self.seeds))

    @property
    def aim(self) -> tuple[str, Direction] | None:
        """Return the metric by which the best is chosen, and its better direction, if named."""
        thresholds: Mapping[str, Threshold] = self.success_criteria
        if self.metric is not None:
            return self.metric, self.direction or thresholds[self.metric].direction
        for name, threshold in thresholds.items():
            return name, threshold.direction
        return None

    def told(self) -> str:
        """Return the sizes: ``12 runs: 2 architectures x 2 learning_rate x 3 seeds``."""
        axes = [
            (len(self.architectures), "architectures"),
            (len(self.datasets), "datasets"),
            *((len(values), name) for name, values in self.hyperparameter_space.items()),
            (len(cast(Sequence[int], self.seeds)), "seeds"),
        ]
        sizes = " x ".join(f"{count} {name}" for count, name in axes if count)
        return f"{self.size} {'run' if self.size == 1 else 'runs'}: {sizes}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFile:
    """What a ``stages/*.yaml`` says: the stage, and the config that its runs begin with."""

    stage: StageConfig
    base_config: Mapping[str, Any] | str = field(default_factory=dict)
    base_config_path: str | None = None


def read_stage(path: Path) -> StageFile:
    """Return what the stage file at ``path`` says.

    Raises:
        StorageError: there is no such file, or it is no YAML.
        UsageProblems: it has unknown keys, or values that make no sense; all problems.
    """
    try:
        data = documents.load(path.read_bytes(), place=str(path))
    except OSError as error:
        raise StorageError(f"the stage {path} cannot be read: {error.strerror}.") from None
    return stage_from_plain(data, place=str(path), name=path.stem)


def stage_from_plain(data: object, *, place: str, name: str = "") -> StageFile:
    """Return what ``data`` says, the stage called ``name`` where it does not say.

    Raises:
        UsageProblems: see ``read_stage``.
    """
    if not isinstance(data, Mapping):
        raise UsageProblems(place, ["it is not a mapping; write name: and handler: first"])
    fields = [one.name for one in dataclasses.fields(StageConfig)]
    known = [*fields, *_BESIDE]
    problems = [f"{key} is not known ({', '.join(known)})" for key in data if key not in known]
    base = data.get("base_config", {})
    if not isinstance(base, (Mapping, str)):
        problems.append("base_config: it is neither a mapping nor the name of a config")
    given = {key: data[key] for key in fields if key in data}
    try:
        stage = StageConfig(**{"name": name, **given})
    except UsageProblems as error:
        problems += error.problems
    if problems:
        raise UsageProblems(place, problems)
    return StageFile(stage=stage, base_config=base, base_config_path=data.get("base_config_path"))


def _read_words(label: str, written: object, problems: list[str]) -> tuple[str, ...]:
    if written == ():
        return ()
    items, problem = read_items(written)
    problems += [f"{label} {problem}"] if problem else []
    problems += [f"{label}[{n}]: {one!r} is no name" for n, one in enumerate(items) if not _ok(one)]
    problems += [f"{label}: {one!r} is given twice" for one in _twice(items)]
    return tuple(str(one) for one in items)


def _read_space(written: object, problems: list[str]) -> dict[str, tuple[Plain, ...]]:
    if not isinstance(written, Mapping):
        problems.append("hyperparameter_space: it is not a mapping of names to lists")
        return {}
    space: dict[str, tuple[Plain, ...]] = {}
    for name, values in written.items():
        if problem := name_problem(name):
            problems.append(f"hyperparameter_space: {problem}")
        read, found = read_values(f"hyperparameter_space: {name}", values)
        problems += found
        problems += [f"hyperparameter_space: {name}: {one!r} stands twice" for one in _twice(read)]
        space[str(name)] = tuple(read)
    return space


def _read_criteria(written: object, problems: list[str]) -> dict[str, Threshold]:
    thresholds, found = read_thresholds(written)
    problems += [f"success_criteria: {problem}" for problem in found]
    return thresholds


def _ok(word: object) -> bool:
    return isinstance(word, str) and bool(word.strip())


def _twice(values: Iterable[object]) -> list[object]:
    listed = [(type(one), one) for one in values]
    return [one for number, (_, one) in enumerate(listed) if listed[number] in listed[:number]]
