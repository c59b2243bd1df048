"""What replicates amount to."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pytest_gpuexp.conclusions import MetricSummary, VariantSummary
from pytest_gpuexp.records import ExperimentResult, Plain


def newest(results: Iterable[ExperimentResult]) -> list[ExperimentResult]:
    """Return the newest finished attempt of each run, in the order in which runs first appear."""
    speaking: dict[str, ExperimentResult] = {}
    for result in results:
        other = speaking.get(result.run_id)
        if other is None or _age(result) > _age(other):
            speaking[result.run_id] = result
    return list(speaking.values())


def summarise_variants(results: Iterable[ExperimentResult]) -> list[VariantSummary]:
    """Return one summary a (handler, variant), each over the newest attempts of its runs.

    ``results`` are one experiment's, in any order; the summaries come by handler, then by
    parameters, numbers by size.
    """
    groups: dict[tuple[str, str], list[ExperimentResult]] = {}
    for result in newest(results):
        key = result.handler, json.dumps(result.variant, sort_keys=True, default=repr)
        groups.setdefault(key, []).append(result)
    ordered = sorted(groups.items(), key=lambda item: _place(item[0], item[1][0].variant))
    return [_summarise(group) for _, group in ordered]


def summarise_metric(values: Sequence[float], *, missing: int = 0) -> MetricSummary:
    """Return mean and spread of ``values``, one a replicate; none at all give NaN.

    NaN among them makes both NaN; an infinity makes the spread NaN.
    """
    n = len(values)
    mean = _mean(values)
    spread = math.nan
    if n > 1 and math.isfinite(mean):
        # The length of a difference is the root of its sum of squares, without overflow.
        spread = math.dist(values, [mean] * n) / math.sqrt(n - 1)
    return MetricSummary(mean=mean, std=spread, n=n, missing=missing)


def _summarise(group: Iterable[ExperimentResult]) -> VariantSummary:
    results = tuple(sorted(group, key=lambda result: (result.seed, result.run_id)))
    values: dict[str, list[float]] = {}
    for result in results:
        if result.status == "completed":
            for name, value in result.metrics.items():
                values.setdefault(name, []).append(value)
    return VariantSummary(
        handler=results[0].handler,
        name=_name(results[0]),
        parameters=results[0].variant,
        results=results,
        metrics={
            name: summarise_metric(found, missing=len(results) - len(found))
            for name, found in values.items()
        },
        statuses=dict(Counter(result.status for result in results)),
        verdicts=dict(Counter(result.verdict for result in results)),
        devices=dict(
            Counter(
                _kind_of_device(result.device)
                for result in results
                if result.status == "completed" and result.device
            )
        ),
    )


def _kind_of_device(device: str) -> str:
    """Return ``2 GPUs`` for ``GPU 0,3``: a token says which ones, and all else names a kind."""
    if not device.startswith("GPU "):
        return device
    count = device.count(",") + 1
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _mean(values: Sequence[float]) -> float:
    if not values:
        return math.nan
    if not all(map(math.isfinite, values)):
        return float(sum(values))  # NaN or an infinity, whatever it is divided by
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def _name(result: ExperimentResult) -> str:
    """Return the variant's part of the run's name: what stands in brackets, less the seed."""
    inside = result.name.partition("[")[2].removesuffix("]")
    return re.sub(rf"(^|-)seed:{result.seed}$", "", inside)


def _age(result: ExperimentResult) -> tuple[int, str]:
    return result.attempt, result.completed_at


def _place(key: tuple[str, str], parameters: Mapping[str, Plain]) -> tuple[object, ...]:
    """Return where a variant stands: ``e1_2`` before ``e1_10``, numbers by size, then strings."""
    handler, text = key
    numbers = [(int(part), "") if part.isdecimal() else (-1, part) for part in _split(handler)]
    values = [(name, *_rank(value)) for name, value in parameters.items()]  # as its id has them
    return numbers, values, text


def _split(handler: str) -> list[str]:
    return re.split(r"([0-9]+)", handler)


def _rank(value: Plain) -> tuple[int, float, str]:
    if isinstance(value, int | float) and not math.isnan(value):
        return 0, value, ""
    return 1, 0.0, str(value)
