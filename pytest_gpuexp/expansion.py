"""The runs of a stage."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pytest_gpuexp import composition, documents, project, stages, targets, tiers
from pytest_gpuexp.composition import Composer
from pytest_gpuexp.errors import StorageError, UsageProblems
from pytest_gpuexp.identifiers import row_text
from pytest_gpuexp.orders import Order, RunRequest, order_from_plain
from pytest_gpuexp.records import Plain
from pytest_gpuexp.stages import StageConfig
from pytest_gpuexp.variants import variants

_PACKAGES = {"architecture": "model", "dataset": "data"}


def read_order(path: Path, *, folder: Path) -> Order:
    """Return the order that a file holds: one that was written as such, or a stage.

    ``folder`` is where the stage's relative paths start.

    Raises:
        StorageError: the file cannot be read.
        UsageProblems: the stage cannot be run; all problems.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"the stage {path} cannot be read: {error.strerror}.") from None
    if path.suffix == ".json":
        return order_from_plain(json.loads(data), place=str(path))
    read = stages.stage_from_plain(
        documents.load(data, place=str(path)), place=str(path), name=path.stem
    )
    groups = folder / read.base_config_path if read.base_config_path else None
    return expand(read.stage, read.base_config, groups=groups, folder=folder)


def expand(stage: StageConfig, base_config: object, *, groups: Path | None, folder: Path) -> Order:
    """Return the runs of ``stage``: architectures slowest, seeds fastest.

    They begin with ``base_config``, a mapping, one of OmegaConf's, or a config's name in
    ``groups``, Hydra's folder of config groups; then come architecture, dataset and
    hyperparameters, each over the last.

    Raises:
        UsageProblems: the stage cannot be run; all problems.
    """
    known = project.tiers_of(folder)
    problems = tiers.machine_problems(stage.gpu_type, stage.timeout_seconds, known)
    requests: list[RunRequest] = []
    seen: dict[str, str] = {}
    composer = None if groups is None else Composer(groups, _base(base_config))
    choices = [_axis("architecture", stage.architectures), _axis("dataset", stage.datasets)]
    for chosen in itertools.product(*choices):
        names = [one for one in chosen if one is not None]
        try:
            composed = _composed(base_config, names, composer)
            target = composed.pop("_target_", None)
            path, function = targets.find_target(stage.handler or target, folder)
        except UsageProblems as error:
            problems += [f"{error.subject}: {told}" for told in error.problems]
            continue
        for label, seed, parameters, seeded in _labelled(stage, composed, names, folder, problems):
            # What was refused has no parameters, and would pass for the same as all else that was.
            if not problems and (not requests or parameters is not requests[-1].parameters):
                problems += _repetition(seen, f"{path}::{function}", label, seed, parameters)
            requests.append(
                RunRequest(
                    path=path,
                    function=function,
                    parameters=parameters,
                    seed=seed,
                    label=label,
                    seeded=seeded,
                )
            )
    if not problems and any(one.seeded for one in requests):
        problems += _alike(requests)
    if problems:
        raise UsageProblems(f"stage {stage.name}", list(dict.fromkeys(problems)))
    return Order(
        requests=requests,
        stage=stage.name,
        sizes=stage.told(),
        success_criteria=stage.success_criteria,
        gpu_type=stage.gpu_type,
        timeout_seconds=stage.timeout_seconds,
    )


def _repetition(
    seen: dict[str, str], target: str, label: str, seed: int, parameters: Mapping[str, Plain]
) -> list[str]:
    """Return a problem where two variants come to the same: a record can speak for one alone."""
    first = seen.setdefault(json.dumps([target, seed, parameters], sort_keys=True), label)
    if first == label:
        return []
    return [f"{first} and {label} come to the same config; take one of them out"]


def _alike(requests: Sequence[RunRequest]) -> list[str]:
    """Return a problem for each variant that what is made of the seed alone tells from another."""
    seen: dict[str, str] = {}
    problems: list[str] = []
    for label, one in {_without_seed(request): request for request in requests}.items():
        first = seen.setdefault(json.dumps([one.target, one.variant], sort_keys=True), label)
        if first != label:
            problems.append(
                f"{first} and {label} differ but in what is made of the seed "
                f"({', '.join(one.seeded)}), and would be summed up as one variant; give them a "
                "parameter that tells them apart"
            )
    return problems


def _without_seed(request: RunRequest) -> str:
    return request.label.removesuffix(f"seed:{request.seed}").removesuffix("-")


def _axis(name: str, values: Sequence[str]) -> Sequence[tuple[str, str] | None]:
    return [(name, value) for value in values] or [None]


def _composed(
    base: object, names: Sequence[tuple[str, str]], composer: Composer | None
) -> dict[str, Any]:
    if composer is not None:
        config = composer.compose([(_PACKAGES[name], value) for name, value in names])
    elif isinstance(base, str):
        told = f"{base!r} is the name of a config; say in which folder by base_config_path"
        raise UsageProblems("base_config", [told])
    else:
        config = {**_raw(base), **dict(names)}
    for ours in ("seed", "run_id"):
        config.pop(ours, None)  # the stage says
    return config


def _base(config: object) -> object:
    return config if isinstance(config, str) else _raw(config)


def _raw(config: object) -> dict[str, Any]:
    raw = composition.unresolved(config)
    if not isinstance(raw, Mapping):
        raise UsageProblems("base_config", [f"it is a {type(config).__name__}, not a mapping"])
    return dict(raw)


def _labelled(
    stage: StageConfig,
    composed: dict[str, Any],
    names: Sequence[tuple[str, str]],
    folder: Path,
    problems: list[str],
) -> Iterator[tuple[str, int, Mapping[str, Plain], Sequence[str]]]:
    """Yield label, seed and parameters of each run of one architecture and dataset.

    Last are the names of the parameters that are made of the seed.
    """
    axes = [name for name, _ in names] + list(stage.hyperparameter_space)
    fixed = [value for _, value in names]
    seeds = cast(Sequence[int], stage.seeds)
    runs = variants(composed, stage.hyperparameter_space, seeds, folder, problems)
    for values, seed, parameters, seeded in runs:
        text = row_text(axes, [*fixed, *values]) if axes else ""
        yield (f"{text}-seed:{seed}" if text else f"seed:{seed}"), seed, parameters, seeded
