"""How values read on a screen."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.97222, "0.9722"),
        (0.5, "0.5"),
        (2410, "2410"),
        (2410.0, "2410"),
        (12345.67, "12346"),
        (-0.03, "-0.03"),
        (0, "0"),
        (0.00000123, "1.23e-06"),
        (1e12, "1e+12"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_a_number_has_four_significant_digits(value: float, text: str) -> None:
    assert figures.number(value) == text


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (0.97222, 0.01134, "0.972 ± 0.011"),
        (0.97222, 0.0996, "0.97 ± 0.10"),
        (1234.5, 123.4, "1230 ± 120"),
        (2410.0, 0.0, "2410 ± 0"),
        (0.5, math.nan, "0.5"),
        (math.nan, math.nan, "nan"),
        (math.inf, math.nan, "inf"),
        (3.21e-9, 1.04e-10, "(3.21 ± 0.10)e-9"),
        (1.5e9, 2e7, "(1.500 ± 0.020)e9"),
        (0.97222, 1.2e-12, "0.9722 ± 1.2e-12"),
        (0.0, 0.0, "0 ± 0"),
    ],
)
def test_a_spread_has_two_significant_digits_and_the_mean_ends_where_it_does(
    mean: float, std: float, text: str
) -> None:
    assert figures.spread(mean, std) == text


def test_a_spread_can_be_told_without_unicode() -> None:
    assert figures.spread(0.9, 0.1, plus_minus="+/-") == "0.90 +/- 0.10"


@given(mean=st.floats(), std=st.floats(min_value=0) | st.just(math.nan))
def test_every_pair_of_floats_reads_as_one_short_line(mean: float, std: float) -> None:
    text = figures.spread(mean, std)

    assert len(text) < 40
    assert text.isprintable()


@given(mean=st.floats(-1e6, 1e6), std=st.floats(1e-4, 1e5))
def test_what_is_read_back_differs_by_less_than_the_last_digit_shown(
    mean: float, std: float
) -> None:
    shown, _, shown_std = figures.spread(mean, std).partition(" ± ")

    assert float(shown_std) == pytest.approx(std, rel=0.06)
    assert abs(float(shown) - mean) <= std


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0s"), (1.26, "1.3s"), (59.97, "1m 00s"), (125, "2m 05s"), (3725, "1h 02m")],
)
def test_a_duration_is_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text


def test_elapsed_time_counts_hours_without_end() -> None:
    assert figures.elapsed(130.9) == "0:02:10"
    assert figures.elapsed(100 * 3600) == "100:00:00"
    assert figures.elapsed(-1) == "0:00:00"


@given(text=st.text(), width=st.integers(min_value=0, max_value=40))
def test_shortened_texts_fit(text: str, width: int) -> None:
    assert figures.cells(figures.shorten(text, width)) <= max(0, width)
    assert figures.cells(figures.cut(text, width, ellipsis="...")) <= max(0, width)


def test_names_are_shortened_in_the_middle_and_sentences_at_the_end() -> None:
    assert figures.shorten("exp_mlp[lr:0.001-seed:0]", 13) == "exp_ml…eed:0]"
    assert figures.cut("shapes do not match", 10) == "shapes do…"


def test_wide_and_combining_characters_count_as_the_terminal_counts_them() -> None:
    assert figures.cells("精度") == 4
    assert figures.cells("e\u0301") == 1
    assert figures.pad("精", 4) == "精  "


@given(text=st.text(), width=st.integers(min_value=1, max_value=30))
def test_folding_loses_nothing(text: str, width: int) -> None:
    assert "".join(figures.fold(text, width)) == text


def test_names_are_folded_after_a_dash() -> None:
    assert figures.fold("lr:0.001-width:128", 12) == ["lr:0.001-", "width:128"]


@given(text=st.text(alphabet="ab -"), width=st.integers(min_value=3, max_value=30))
def test_wrapped_lines_fit_and_keep_the_words(text: str, width: int) -> None:
    lines = figures.wrap(text, width)

    assert all(figures.cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(text.split())


def test_nothing_that_moves_a_cursor_gets_through() -> None:
    assert figures.clean("a\x1b[2Jb\r\nc") == "a [2Jb  c"
    assert figures.first_line("\n  \n  first\tline \nsecond") == "first line"
    assert figures.first_line("") == ""
