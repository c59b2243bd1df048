"""What a named GPU tier stands for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from pytest_gpuexp.errors import UsageProblems

MAX_TIMEOUT_SECONDS = 24 * 3600.0
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")
# Every GPU's name holds a digit; a tier's name in capitals is a mistake, not a GPU.
_GPU = re.compile(r"((?=[^:]*\d)[A-Z][A-Za-z0-9-]*!?)(?::([1-8]))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A kind of machine: ``gpus`` of model ``gpu``, for at most ``timeout_seconds`` an attempt.

    ``timeout_seconds`` is None for a bare GPU string, which sets no limit of its own.
    """

    name: str
    gpu: str
    gpus: int
    timeout_seconds: float | None


# The seeds' table, checked 2026-10; a project may override it.
TIERS: Mapping[str, Tier] = {
    tier.name: tier
    for tier in (
        Tier(name="debug", gpu="T4", gpus=1, timeout_seconds=600.0),
        Tier(name="standard", gpu="A10", gpus=1, timeout_seconds=1800.0),
        Tier(name="fast", gpu="A100-40GB", gpus=1, timeout_seconds=3600.0),
        Tier(name="multi", gpu="A100-40GB", gpus=2, timeout_seconds=7200.0),
        Tier(name="h100", gpu="H100!", gpus=1, timeout_seconds=3600.0),
    )
}


def find_tier(text: object, tiers: Mapping[str, Tier] = TIERS) -> Tier:
    """Return the tier called ``text``, or one made of a GPU string such as ``L40S`` or ``H200:4``.

    ``tiers`` are those that the project knows, by name.

    Raises:
        UsageProblems: ``text`` is neither.
    """
    match = None
    if isinstance(text, str):
        if text in tiers:
            return tiers[text]
        match = _GPU.fullmatch(text)
    if match is None:
        told = f"{text!r} is not a tier ({', '.join(sorted(tiers))}) and not a GPU"
        raise UsageProblems("gpu", [f"{told} such as L40S or H200:4{_hint(str(text), tiers)}"])
    return Tier(name=match[0], gpu=match[1], gpus=int(match[2] or 1), timeout_seconds=None)


def _hint(text: str, tiers: Iterable[str]) -> str:
    if _GPU.fullmatch(text.upper()):
        return f", did you mean {text.upper()!r}?"
    close = difflib.get_close_matches(text.lower(), list(tiers), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def parse_duration(value: str | float) -> float:
    """Return seconds for ``"90"``, ``"45s"``, ``"10m"``, ``"1h30m"``, or a number of seconds.

    Raises:
        UsageProblems: the text is not a duration, or not within 0 to 24 hours.
    """
    seconds: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and value:
        match = _DURATION.fullmatch(value.strip())
        if match and any(match.groups()):
            hours, minutes, rest = (float(part or 0) for part in match.groups())
            seconds = hours * 3600 + minutes * 60 + rest
    if seconds is None:
        raise UsageProblems("timeout", [f"{value!r} is not a duration such as 90, 45s, 10m, 1h30m"])
    if not 0 < seconds <= MAX_TIMEOUT_SECONDS:
        raise UsageProblems("timeout", [f"{value!r} is not between 0 and 24 hours"])
    return seconds


def machine_problems(
    gpu_type: object, timeout_seconds: object, known: Mapping[str, Tier]
) -> list[str]:
    """Return what is wrong with a tier, of the ``known`` ones, and a timeout; both may be None."""
    problems: list[str] = []
    try:
        if gpu_type is not None:
            find_tier(gpu_type, known)
    except UsageProblems as error:
        problems += [f"gpu_type: {problem}" for problem in error.problems]
    return problems + timeout_problems(timeout_seconds)


def timeout_problems(timeout_seconds: object) -> list[str]:
    """Return what is wrong with a timeout that may be None."""
    try:
        if timeout_seconds is not None:
            parse_duration(cast(float, timeout_seconds))
    except UsageProblems as error:
        return [f"timeout_seconds: {problem}" for problem in error.problems]
    return []
