from __future__ import annotations

import math

import pytest
from scipy import stats

from pytest_gpuexp.intervals import interval, t_quantile
from pytest_gpuexp.summary import summarise_metric


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 99, 1000])
@pytest.mark.parametrize("p", [0.6, 0.975, 0.999])
def test_the_quantile_of_t_is_scipys(p: float, freedom: int) -> None:
    assert t_quantile(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=1e-9)


def test_the_interval_is_scipys() -> None:
    values = [0.91, 0.93, 0.9, 0.95]

    found = interval(summarise_metric(values))

    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found == pytest.approx([expected.low, expected.high])


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_one_value_or_a_broken_one_has_no_interval(values: list[float]) -> None:
    assert interval(summarise_metric(values)) is None
