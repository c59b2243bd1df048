"""The values that say what a set of results amounts to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pytest_gpuexp.records import Experiment, ExperimentResult, Plain, Status, Verdict

Confidence = Literal["high", "medium", "low"]
Recommendation = Literal["proceed", "pivot", "investigate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """One metric over the completed replicates of a variant, in the metric's own unit.

    ``std`` has ddof=1 and is NaN for one value; ``n`` counts the values, NaN and infinities too;
    ``missing`` the replicates that are not completed or did not report the metric.
    """

    mean: float
    std: float
    n: int
    missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSummary:
    """A handler with one choice of parameters; its replicates in ascending order of seed.

    ``name`` is the variant's part of the run's id (``lr:0.001-width:32``), "" without parameters.
    ``devices`` says how many of the completed replicates computed on which kind of device.
    """

    handler: str
    name: str
    parameters: Mapping[str, Plain]
    results: Sequence[ExperimentResult]
    metrics: Mapping[str, MetricSummary]
    statuses: Mapping[Status, int]
    verdicts: Mapping[Verdict, int]
    devices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one criterion says: of a variant, a run, a handler, or of the whole experiment.

    ``name`` is the item's name (``crit_stable[lr:0.001]``); ``explanation`` is for people.
    """

    name: str
    verdict: Verdict
    explanation: str = ""
    expected_failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What the thresholds of an experiment come to.

    ``achieved`` gives each required metric's mean of the speaking variant, None where nothing
    finite was measured. ``met`` is None where an experiment sets no thresholds.
    """

    met: bool | None
    verdict: Verdict
    achieved: Mapping[str, float | None]
    variant: str | None
    variants_met: int
    variants_judged: int
    confidence: Confidence
    recommendation: Recommendation
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentReport:
    """All that ``results.yaml`` and the closing table say of one experiment."""

    experiment: Experiment
    variants: Sequence[VariantSummary]
    assessment: Assessment
    judgements: Sequence[Judgement] = ()
    status: Status | Literal["partial"] = "completed"
    executed_by: str = ""
    started_at: str = ""
    completed_at: str = ""
    handler_docs: Mapping[str, str] = field(default_factory=dict)
