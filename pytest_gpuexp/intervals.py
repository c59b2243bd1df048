"""The interval in which a mean over seeds lies."""

from __future__ import annotations

import math

from pytest_gpuexp.conclusions import MetricSummary


def interval(summary: MetricSummary) -> list[float] | None:
    """Return the 95 % confidence interval of the mean, [low, high], in the metric's own unit.

    Student's t with n - 1 degrees of freedom, over the seeds: None for one value, which tells
    nothing of spread, and where the spread is not finite.

    Source: Student 1908, "The probable error of a mean", Biometrika 6(1).
    """
    if summary.n < 2 or not math.isfinite(summary.std):
        return None
    half = t_quantile(0.975, summary.n - 1) * summary.std / math.sqrt(summary.n)
    return [summary.mean - half, summary.mean + half]


def t_quantile(p: float, freedom: int) -> float:
    """Return the ``p`` quantile of Student's t, 0.5 < p < 1, by bisecting its distribution."""
    low, high = 0.0, 1.0
    while t_cdf(high, freedom) < p:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, freedom) < p else (low, middle)
    return (low + high) / 2


def t_cdf(t: float, freedom: int) -> float:
    """Return the probability that Student's t is at most ``t``, which is not negative.

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4: finite sums for whole degrees of freedom.
    """
    theta = math.atan(t / math.sqrt(freedom))
    cosine2, odd = math.cos(theta) ** 2, freedom % 2
    term, total = (math.cos(theta), 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= cosine2 * k / (k + 1)
    inside = math.sin(theta) * total
    if odd:
        inside = 2 / math.pi * (theta + inside)
    return 0.5 + inside / 2
