"""What a handler may return and log, and how it is made plain."""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

KEYS = ("finding", "metrics", "artifacts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The valid part of what a handler returned."""

    finding: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    artifacts: Sequence[str] = ()

    def followed_by(self, later: Returned) -> Returned:
        """Return both together; where they differ, the later one holds."""
        return Returned(
            finding=self.finding if later.finding is None else later.finding,
            metrics={**self.metrics, **later.metrics},
            artifacts=[*dict.fromkeys([*self.artifacts, *later.artifacts])],
        )


def read_return(value: object) -> tuple[Returned, list[str]]:
    """Return the valid part of a handler's return value, and every problem with the rest."""
    if value is None:
        return Returned(), []
    if not isinstance(value, Mapping):
        return Returned(), [
            f"it is a {type(value).__name__}; return None or a dict with {', '.join(KEYS)}"
        ]
    problems = [
        f"unknown key {key!r}; the keys are {', '.join(KEYS)} (a number belongs under 'metrics')"
        for key in value
        if key not in KEYS
    ]
    finding = value.get("finding")
    if finding is not None and not isinstance(finding, str):
        problems.append(f"'finding' is a {type(finding).__name__}; it must be text")
        finding = None
    metrics, metric_problems = read_metrics(value.get("metrics") or {})
    artifacts, artifact_problems = _read_artifacts(value.get("artifacts") or ())
    problems += metric_problems + artifact_problems
    return Returned(finding=finding, metrics=metrics, artifacts=artifacts), problems


def read_metrics(value: object) -> tuple[dict[str, float], list[str]]:
    """Return the metrics that are scalars as plain numbers, and every problem with the others."""
    if not isinstance(value, Mapping):
        return {}, [f"'metrics' is a {type(value).__name__}; it must be a dict of numbers"]
    metrics: dict[str, float] = {}
    problems: list[str] = []
    for name, raw in value.items():
        if not isinstance(name, str) or not name:
            problems.append(f"metric name {name!r} is not a text")
            continue
        scalar = plain_scalar(raw)
        if scalar is None:
            problems.append(f"metric {name!r} {_why_not_scalar(raw)}")
        else:
            metrics[name] = scalar
    return metrics, problems


def plain_scalar(value: Any) -> float | int | None:
    """Return ``value`` as a Python number, or None where it is not one.

    Takes numbers, numpy and torch scalars, and arrays and tensors of one element; a truth value
    is 1 or 0, so that its mean over seeds is a rate.
    """
    if isinstance(value, float):  # numpy.float64 is one
        return float(value)
    if isinstance(value, int):
        return int(value) if abs(value) <= _LARGEST else None
    if _elements(value) == 1 and callable(getattr(value, "item", None)):
        item = value.item()
        if type(item) is type(value) and isinstance(value, numbers.Real):
            return float(value)  # numpy's long double is its own item
        return plain_scalar(item) if isinstance(item, (bool, int, float)) else None
    return None


def non_finite(metrics: Mapping[str, float]) -> tuple[str, ...]:
    """Return the names of those metrics that are NaN or infinite."""
    return tuple(name for name, value in metrics.items() if not math.isfinite(value))


_LARGEST = int(sys.float_info.max)  # statistics are reckoned in floats


def _elements(value: Any) -> int | None:
    shape = getattr(value, "shape", None)
    return math.prod(shape) if isinstance(shape, (tuple, list)) else None


def _why_not_scalar(value: Any) -> str:
    elements = _elements(value)
    if elements is not None and elements != 1:
        return (
            f"has shape {tuple(value.shape)}; reduce it first, as with .mean().item(), "
            "or save it as an artifact"
        )
    if isinstance(value, int):
        return "is an int beyond the range of floats; log its logarithm"
    return f"is a {type(value).__name__}; a metric is one number"


def _read_artifacts(value: object) -> tuple[tuple[str, ...], list[str]]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (), [
            f"'artifacts' is a {type(value).__name__}; it must be a list of what save_artifact gave"
        ]
    names = [str(one) for one in value if isinstance(one, str) or hasattr(one, "__fspath__")]
    wrong = [
        f"artifacts[{index}] is a {type(entry).__name__}, not a path"
        for index, entry in enumerate(value)
        if not (isinstance(entry, str) or hasattr(entry, "__fspath__"))
    ]
    return tuple(names), wrong
