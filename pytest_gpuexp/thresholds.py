"""Thresholds as YAML files write them."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_gpuexp import criteria
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import Threshold

_WAYS = {
    "at_least": criteria.at_least,
    "higher": criteria.at_least,
    "at_most": criteria.at_most,
    "lower": criteria.at_most,
}
_KEYS = ("acceptable", "target", "failure", "direction")


def read_thresholds(written: object) -> tuple[dict[str, Threshold], list[str]]:
    """Return the thresholds that ``written`` means, by metric, and every problem with the others.

    A threshold is one already, or ``{acceptable, target, failure, direction}``, of which target
    stands for a missing acceptable, and the order of the others tells a missing direction.
    """
    if not isinstance(written, Mapping):
        return {}, ["it is not a mapping of metrics"]
    thresholds: dict[str, Threshold] = {}
    problems: list[str] = []
    for name, one in written.items():
        try:
            thresholds[str(name)] = one if isinstance(one, Threshold) else _read(one)
        except UsageProblems as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
    return thresholds, problems


def _read(written: object) -> Threshold:
    if not isinstance(written, Mapping):
        told = f"{written!r} is not a mapping with {', '.join(_KEYS)}"
        raise UsageProblems("threshold", [told])
    problems = [f"{key} is not known ({', '.join(_KEYS)})" for key in written if key not in _KEYS]
    acceptable = written.get("acceptable", written.get("target"))
    target, failure = written.get("target"), written.get("failure")
    direction = written.get("direction", _direction(acceptable, target, failure))
    if acceptable is None:
        problems.append("acceptable is missing: what must be reached")
    if direction not in _WAYS:
        problems.append(f"direction: {direction!r} is not at_least or at_most")
    if problems or acceptable is None:
        raise UsageProblems("threshold", problems)
    return _WAYS[direction](acceptable, target=target, failure=failure)


def _direction(acceptable: object, target: object, failure: object) -> str | None:
    numbers = [one for one in (failure, acceptable, target) if isinstance(one, (int, float))]
    if len(numbers) < 2 or numbers[0] == numbers[-1]:
        return None
    return "at_least" if numbers[0] < numbers[-1] else "at_most"
