"""A tier or a GPU string is a machine, a text is a duration, and all else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.tiers import MAX_TIMEOUT_SECONDS, TIERS, Tier, find_tier, parse_duration


@pytest.mark.parametrize(
    ("name", "gpu", "gpus", "seconds"),
    [
        ("debug", "T4", 1, 600),
        ("standard", "A10", 1, 1800),
        ("fast", "A100-40GB", 1, 3600),
        ("multi", "A100-40GB", 2, 7200),
        ("h100", "H100!", 1, 3600),
    ],
)
def test_the_five_tiers_are_what_they_are(name: str, gpu: str, gpus: int, seconds: int) -> None:
    assert find_tier(name) == Tier(name=name, gpu=gpu, gpus=gpus, timeout_seconds=seconds)


@given(
    gpu=st.sampled_from(["T4", "L4", "L40S", "A100", "A100-80GB", "H100!", "RTX-PRO-6000"]),
    gpus=st.integers(1, 8),
)
def test_a_gpu_string_is_a_machine_without_a_limit_of_its_own(gpu: str, gpus: int) -> None:
    assert find_tier(f"{gpu}:{gpus}") == Tier(
        name=f"{gpu}:{gpus}", gpu=gpu, gpus=gpus, timeout_seconds=None
    )
    assert find_tier(gpu).gpus == 1


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("fats", ", did you mean 'fast'?"),
        ("FAST", ", did you mean 'fast'?"),
        ("a100", ", did you mean 'A100'?"),
        ("L40S:9", ""),
        ("", ""),
        (4, ""),
    ],
)
def test_what_is_neither_is_refused_with_the_right_names(text: object, hint: str) -> None:
    with pytest.raises(UsageProblems) as caught:
        find_tier(text)

    assert str(caught.value) == (
        f"gpu: 1 problem: {text!r} is not a tier (debug, fast, h100, multi, standard) and not a "
        f"GPU such as L40S or H200:4{hint}"
    )


def test_every_tier_ends_within_a_day() -> None:
    for tier in TIERS.values():
        assert tier.timeout_seconds is not None
        assert 0 < tier.timeout_seconds <= MAX_TIMEOUT_SECONDS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("45s", 45),
        ("10m", 600),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (" 24h ", 86400),
        (0.5, 0.5),
        (7, 7),
    ],
)
def test_a_duration_is_a_number_or_a_text(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(hours=st.integers(0, 23), minutes=st.integers(0, 59), rest=st.integers(0, 59))
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, rest: int) -> None:
    seconds = hours * 3600 + minutes * 60 + rest
    text = f"{hours}h{minutes}m{rest}s"

    if seconds:
        assert parse_duration(text) == seconds
    else:
        with pytest.raises(UsageProblems, match="is not between 0 and 24 hours"):
            parse_duration(text)


@pytest.mark.parametrize("text", ["", "soon", "10 m", "-1", "m", "1m1h", True, None, "1d"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(UsageProblems, match="is not a duration such as 90, 45s, 10m, 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("value", ["25h", 0, -1, float("nan"), float("inf")])
def test_a_limit_lies_between_nothing_and_a_day(value: str | float) -> None:
    with pytest.raises(UsageProblems, match="is not between 0 and 24 hours"):
        parse_duration(value)
