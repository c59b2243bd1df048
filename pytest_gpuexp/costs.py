"""What runs on rented GPUs cost at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import RunSpec
from pytest_gpuexp.tiers import Tier, find_tier

PRICES_CHECKED = "2026-10"
# Modal's, in dollars a GPU and hour; processor and memory come on top. A project may override them.
PRICES: Mapping[str, float] = {
    "T4": 0.59,
    "L4": 0.80,
    "A10": 1.10,
    "L40S": 1.95,
    "A100-40GB": 2.10,
    "A100-80GB": 2.50,
    "H100": 3.95,
    "H200": 4.54,
    "B200": 6.25,
}
_SAME = {"A10G": "A10", "A100": "A100-40GB"}  # older names, which Modal still takes
_DEFAULT_SECONDS = 3600.0  # of a GPU string, which sets no limit of its own


def worst_case(
    specs: Iterable[RunSpec],
    *,
    tiers: Mapping[str, Tier],
    default: str,
    prices: Mapping[str, float] = PRICES,
) -> float:
    """Return dollars for ``specs`` where every run takes all of its time limit, GPUs alone.

    ``default`` is the tier of runs that ask for none.

    Raises:
        UsageProblems: the price of a GPU is not known.
    """
    total = 0.0
    unknown: dict[str, None] = {}
    for spec in specs:
        tier = find_tier(spec.tier or default, tiers)
        model = tier.gpu.rstrip("!")
        model = model if model in prices else _SAME.get(model, model)
        if model not in prices:
            unknown[model] = None
            continue
        seconds = spec.timeout_seconds or tier.timeout_seconds or _DEFAULT_SECONDS
        total += prices[model] * tier.gpus * seconds / 3600
    if unknown:
        raise UsageProblems(
            "budget",
            [
                f"what a {model} costs is not known; say it in dollars an hour under "
                f'[tool.gpuexp.prices] of pyproject.toml, as "{model}" = 2.0'
                for model in unknown
            ],
        )
    return total
