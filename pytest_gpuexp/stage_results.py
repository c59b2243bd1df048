"""What a stage came to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_gpuexp import intervals, summary, sweep
from pytest_gpuexp.conclusions import VariantSummary
from pytest_gpuexp.records import ExperimentResult, Plain
from pytest_gpuexp.stages import Direction, StageConfig

_FALLBACK: tuple[str, Direction] = ("val_loss", "at_most")


@dataclass(slots=True, kw_only=True)
class StageResult:
    """How a stage ended.

    ``experiments`` are in the order of the runs. ``best_config`` and ``best_metrics`` are those of
    the variant whose mean over seeds is best, {} where none can be chosen; ``summary["best"]``
    says which, or why none. Times are UTC in ISO 8601. It is the caller's own, to change as well.
    """

    stage_name: str
    experiments: list[ExperimentResult]
    best_config: dict[str, Plain]
    best_metrics: dict[str, float]
    summary: dict[str, Any] = field(default_factory=dict)
    started_at: str = ""
    completed_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    variant: VariantSummary | None
    told: Mapping[str, Plain]


def stage_result(
    stage: StageConfig,
    results: Sequence[ExperimentResult],
    *,
    started_at: str,
    completed_at: str,
    kept: int = 0,
) -> StageResult:
    """Return what ``results``, one a run and in their order, amount to.

    ``kept`` of them are of earlier sessions.
    """
    variants = summary.summarise_variants(results)
    best = _best(stage, variants)
    chosen = best.variant
    # The best is a variant: neither the seed nor what was made of it is its own.
    config = {} if chosen is None else sweep.nest(chosen.parameters)
    metrics = {} if chosen is None else {k: v.mean for k, v in chosen.metrics.items()}
    return StageResult(
        stage_name=stage.name,
        experiments=list(results),
        best_config=config,
        best_metrics=metrics,
        summary={
            **_counts(results),
            "kept": kept,
            "variants": [_variant_entry(variant) for variant in variants],
            "best": dict(best.told),
        },
        started_at=started_at,
        completed_at=completed_at,
    )


def _counts(results: Sequence[ExperimentResult]) -> dict[str, Any]:
    statuses = Counter(result.status for result in results)
    total, completed = len(results), statuses["completed"]
    durations = [one.duration_seconds for one in results if one.status == "completed"]
    return {
        "total_experiments": total,
        "completed": completed,
        "failed": total - completed,  # all that gave no result, timeouts among them
        "timeouts": statuses["timeout"],
        "success_rate": round(completed / total, 3) if total else math.nan,
        "mean_duration_seconds": sum(durations) / len(durations) if durations else math.nan,
        "total_duration_seconds": sum(result.duration_seconds for result in results),
        "statuses": dict(statuses),
        "verdicts": dict(Counter(result.verdict for result in results)),
    }


def _variant_entry(variant: VariantSummary) -> dict[str, Any]:
    completed = variant.statuses.get("completed", 0)
    return {
        "name": variant.name,
        "parameters": dict(variant.parameters),
        "runs": len(variant.results),
        "completed": completed,
        "metrics": {
            name: {
                "mean": one.mean,
                "std": one.std if one.n > 1 else None,
                "n": one.n,
                "interval_95": intervals.interval(one),
            }
            for name, one in variant.metrics.items()
        },
    }


def _best(stage: StageConfig, variants: Sequence[VariantSummary]) -> _Best:
    metric, direction = stage.aim or _FALLBACK
    if stage.aim is None and not any(metric in one.metrics for one in variants):
        return _none("no metric is named: give the stage a metric, or success_criteria")
    measured = [one for one in variants if metric in one.metrics]
    finite = [one for one in measured if math.isfinite(one.metrics[metric].mean)]
    if not finite:
        return _none(f"no variant has a finite mean of {metric}")
    sign = 1.0 if direction == "at_least" else -1.0
    # One with failed replicates may lead by luck: it leads only where no other is whole.
    whole = [one for one in finite if not one.metrics[metric].missing] or finite
    top = max(sign * one.metrics[metric].mean for one in whole)
    leaders = [one for one in whole if sign * one.metrics[metric].mean == top]
    best = leaders[0]
    passed_over = [
        one.name for one in finite if one not in whole and sign * one.metrics[metric].mean > top
    ]
    told: dict[str, Plain] = {
        "variant": best.name,
        "metric": metric,
        "direction": direction,
        "mean": best.metrics[metric].mean,
        "n": best.metrics[metric].n,
        "failed_replicates": best.metrics[metric].missing,
        "ties": [one.name for one in leaders[1:]],
        "passed_over": passed_over,  # better means, of fewer seeds: some replicates failed
        "interval_95": intervals.interval(best.metrics[metric]),
    }
    return _Best(variant=best, told=told)


def _none(why: str) -> _Best:
    return _Best(variant=None, told={"variant": None, "why": why})
