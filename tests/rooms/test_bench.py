"""The arithmetic of the benchmark's tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import publishing, storage
from bench.figures import Figure, Sheet, ratio
from bench.table import render
from bench.targets import TARGETS, Target
from bench.task import Work


def figure(contender: str, runs: int, *walls_s: float, work: Work = "noop") -> Figure:
    return Figure(contender=contender, work=work, runs=runs, walls_s=walls_s)


def target(claim: str) -> Target:
    return next(target for target in TARGETS if target.claim == claim)


@given(
    start_s=st.floats(0, 10),
    run_ms=st.floats(0.1, 1000),
    sizes=st.tuples(st.integers(1, 500), st.integers(501, 1000)),
)
def test_the_marginal_time_is_free_of_the_time_to_start(
    start_s: float, run_ms: float, sizes: tuple[int, int]
) -> None:
    walls = [start_s + runs * run_ms / 1000 for runs in sizes]
    sheet = Sheet(figures=[figure("ours", n, s) for n, s in zip(sizes, walls, strict=True)])

    marginal = sheet.marginal_ms("ours", "noop")

    assert marginal == pytest.approx(run_ms)


def test_the_best_repetition_of_each_size_counts() -> None:
    sheet = Sheet(figures=[figure("ours", 200, 1.5, 1.0, 9.0), figure("ours", 1000, 3.0, 1.8)])

    marginal = sheet.marginal_ms("ours", "noop")

    assert sheet.wall_s("ours", "noop", 200) == 1.0
    assert marginal == pytest.approx(1.0)


def test_a_slow_peer_is_reckoned_up_to_the_size_it_was_not_given() -> None:
    sheet = Sheet(figures=[figure("ray", 6, 8.0), figure("ray", 12, 14.0)])

    reckoned = sheet.reckoned_s("ray", "noop", 200)

    assert reckoned == pytest.approx(8.0 + 194 * 1.0)


def test_the_overhead_of_a_peer_leaves_out_the_work_itself() -> None:
    sheet = Sheet(
        figures=[
            *(figure("loop", n, n * 0.001) for n in (10, 20)),
            *(figure("ours", n, n * 0.003) for n in (10, 20)),
            *(figure("submitit", n, n * 0.201) for n in (10, 20)),
        ]
    )

    times = target("overhead a run, submitit over ours").measure(sheet)

    assert times == pytest.approx(100)


@pytest.mark.parametrize(("over", "under"), [(None, 1.0), (1.0, None), (1.0, 0.0), (1.0, -0.2)])
def test_a_ratio_to_something_unknown_or_lost_in_noise_is_unknown(
    over: float | None, under: float | None
) -> None:
    result = ratio(over, under)

    assert result is None


@pytest.mark.parametrize(
    ("at_least", "value", "met"),
    [(False, 3.0, True), (False, 3.1, False), (True, 3.0, True), (True, 2.9, False)],
)
def test_a_promise_is_kept_up_to_its_very_limit(at_least: bool, value: float, met: bool) -> None:
    promise = Target(claim="", limit=3, unit="x", measure=lambda _: value, at_least=at_least)

    verdict = promise.met(value)

    assert verdict is met


def test_being_installed_is_priced_in_milliseconds() -> None:
    sheet = Sheet(
        figures=[
            figure("plain", 200, 0.400, 0.390, work="unused"),
            figure("installed", 200, 0.402, 0.394, work="unused"),
        ]
    )

    added = target("installed and unused").measure(sheet)

    assert added == pytest.approx(4.0)


def test_what_was_not_measured_is_said_to_be_so() -> None:
    text = render(Sheet(figures=[]), [], [])

    assert text.count("not measured") == len(TARGETS)


def test_the_storage_table_compares_every_client_with_ours() -> None:
    ours, boto3 = [2.0, 2.0, 6.0, 1.0], [3.0, 3.0, 6.0, 2.0]
    best = {"ours": [*ours, 1.0, 1.0, 2.0, 0.5], "boto3": [*boto3, 2.0, 2.5, 2.0, 1.0]}

    text = storage.render(best, storage.Size(small=7), ["obstore"])

    assert "storage: 7 objects of 2000 bytes at 16 at a time, one of 512 MiB" in text
    assert "3.00 (1.50x)" in text
    assert "2.50 (2.50x)" in text
    assert "obstore  not installed" in text
    assert "small ones, boto3 over ours: 1.50x" in text
    assert "the large one, ours over the best: 1.00x" in text


def test_what_publishing_adds_is_reckoned_from_two_sizes() -> None:
    least = {
        ("folder", 100): (2.0, 1.0),
        ("folder", 600): (4.0, 2.0),
        ("bucket", 100): (3.0, 2.0),
        ("bucket", 600): (6.0, 4.5),
    }

    text = publishing.render(least, 100, 600)

    assert "adds 2.0 ms of CPU and 3.0 ms of wall time to the 2.0 ms" in text
