"""The closing table of an experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp import figures
from pytest_gpuexp.conclusions import Assessment, ExperimentReport, MetricSummary, VariantSummary
from pytest_gpuexp.records import Experiment, Threshold
from pytest_gpuexp.tables import variant_table

ASSESSMENT = Assessment(
    met=None,
    verdict="not_evaluated",
    achieved={},
    variant=None,
    variants_met=0,
    variants_judged=0,
    confidence="low",
    recommendation="investigate",
)
PLACE = "results/c1/results.yaml"


def mean_of(mean: float, std: float = 0.01, n: int = 3, missing: int = 0) -> MetricSummary:
    return MetricSummary(mean=mean, std=std, n=n, missing=missing)


def variant(
    name: str, metrics: Mapping[str, MetricSummary], handler: str = "exp_mlp", **fields: Any
) -> VariantSummary:
    fields = {"statuses": {"completed": 3}, "verdicts": {"not_evaluated": 3}, **fields}
    return VariantSummary(
        handler=handler, name=name, parameters={}, results=(), metrics=metrics, **fields
    )


def report(
    variants: Sequence[VariantSummary], criteria: Mapping[str, Threshold] | None = None
) -> ExperimentReport:
    experiment = Experiment(experiment_id="c1", success_criteria=criteria or {})
    return ExperimentReport(experiment=experiment, variants=variants, assessment=ASSESSMENT)


def table(
    variants: Sequence[VariantSummary],
    criteria: Mapping[str, Threshold] | None = None,
    *,
    width: int = 100,
    **options: Any,
) -> list[str]:
    lines = variant_table(report(variants, criteria), width=width, place=PLACE, **options)
    return ["".join(text for text, _ in line).rstrip() for line in lines]


ACCURATE = {"accuracy": Threshold(direction="at_least", acceptable=0.93)}


def test_status_verdict_and_criteria_have_columns_of_their_own() -> None:
    variants = [
        variant("lr:0.1", {"accuracy": mean_of(0.972, 0.0113)}, verdicts={"pass": 3}),
        variant(
            "lr:1.0",
            {"accuracy": mean_of(0.5, 0.2, n=2, missing=1)},
            statuses={"completed": 2, "timeout": 1},
            verdicts={"pass": 1, "fail": 1, "not_evaluated": 1},
        ),
        variant("lr:2.0", {"accuracy": mean_of(0.5)}, statuses={"completed": 3}),
    ]

    lines = table(variants, ACCURATE)

    assert lines == [
        "  exp_mlp  runs  accuracy       status     verdict         criteria",
        "  lr:0.1   3/3   0.972 ± 0.011             3 pass          met",
        "  lr:1.0   2/3   0.50 ± 0.20    1 timeout  1 pass, 1 fail  undecided",
        "  lr:2.0   3/3   0.500 ± 0.010                             not met",
    ]


def test_columns_that_say_nothing_are_left_out() -> None:
    lines = table([variant("", {"loss": mean_of(0.3, math.nan, n=1)}, statuses={"completed": 1})])

    assert lines == ["  variant  runs  loss", "  exp_mlp  1/1   0.3"]


def test_variants_of_several_handlers_are_told_by_their_full_names() -> None:
    lines = table([variant("lr:1", {"a": mean_of(1)}), variant("", {"b": mean_of(2)}, "exp_cnn")])

    assert lines == [
        "  variant        runs  a              b",
        "  exp_mlp[lr:1]  3/3   1.000 ± 0.010  -",
        "  exp_cnn        3/3   -              2.000 ± 0.010",
    ]


def test_a_handler_that_measures_none_of_the_required_metrics_is_not_judged() -> None:
    variants = [variant("lr:1", {"accuracy": mean_of(0.95)}), variant("", {"b": mean_of(2)}, "e2")]

    lines = table(variants, ACCURATE)

    assert lines[1].endswith("  met")
    assert lines[2].endswith("  -")


def test_a_mean_that_is_not_a_number_is_shown_and_never_met() -> None:
    lines = table([variant("lr:1", {"accuracy": mean_of(math.nan, math.nan)})], ACCURATE)

    assert lines[1] == "  lr:1     3/3   nan       not met"


def test_a_mean_over_fewer_values_than_completed_runs_says_so() -> None:
    lines = table([variant("lr:1", {"accuracy": mean_of(0.95, n=2, missing=1)})])

    assert "0.950 ± 0.010 (n=2)" in lines[1]


def test_without_variants_there_is_no_table() -> None:
    assert table([]) == []
    assert table([], ACCURATE) == []


def test_required_metrics_come_first_and_those_without_room_are_named() -> None:
    metrics = {f"metric_{index}": mean_of(0.5) for index in range(9)}

    lines = table([variant("lr:1", {**metrics, "accuracy": mean_of(0.95)})], ACCURATE, width=60)

    assert lines[0].split()[:4] == ["exp_mlp", "runs", "accuracy", "metric_0"]
    assert lines[2].startswith(f"  ... 8 more metrics in {PLACE}:")
    assert "metric_8" in lines[-1]


def test_with_v_metrics_without_room_get_a_further_table() -> None:
    metrics = {f"metric_{index}": mean_of(0.5) for index in range(9)}

    lines = table([variant("lr:1", metrics)], width=60, every_metric=True)

    assert len(lines) > 2
    assert all(any(name in line for line in lines) for name in metrics)
    assert not any("more" in line for line in lines)
    assert all(figures.cells(line) <= 60 for line in lines)


def test_of_many_variants_the_best_and_the_worst_are_shown() -> None:
    many = [variant(f"lr:{index}", {"accuracy": mean_of(index / 100)}) for index in range(100)]

    lines = table(many, ACCURATE)

    assert len(lines) == 1 + 15 + 1 + 5
    assert lines[1].split()[0] == "lr:99"
    assert lines[16] == f"  ... 80 more variants in {PLACE}"
    assert lines[-1].split()[0] == "lr:0"


def test_where_less_is_better_the_best_is_the_smallest_and_unmeasured_ones_are_last() -> None:
    many = [variant(f"lr:{index}", {"loss": mean_of(index + 1)}) for index in range(30)]
    many.insert(3, variant("none", {}))
    many.insert(4, variant("broken", {"loss": mean_of(math.nan, math.nan)}))

    lines = table(many, {"loss": Threshold(direction="at_most", acceptable=2)})

    assert lines[1].split()[0] == "lr:0"
    assert {line.split()[0] for line in lines[-2:]} == {"none", "broken"}


def test_long_names_go_on_below_themselves() -> None:
    name = "-".join(f"model.block{index}.width:128" for index in range(5))

    lines = table([variant(name, {"accuracy": mean_of(0.95)})], width=60)

    assert "".join(line.split()[0] for line in lines[1:]) == name
    assert all(figures.cells(line) <= 60 for line in lines)


def test_colours_are_names_and_never_escape_codes() -> None:
    lines = variant_table(report([variant("a", {"accuracy": mean_of(1)})], ACCURATE), width=80)

    assert {colour for line in lines for _, colour in line} == {"", "bold", "green"}
    assert "\x1b" not in str(lines)


@given(
    names=st.lists(st.text(max_size=60), max_size=30),
    metric=st.text(max_size=20),
    mean=st.floats(),
    std=st.floats(min_value=0) | st.just(math.nan),
    width=st.integers(min_value=80, max_value=160),
)
def test_every_table_fits_the_terminal(
    names: list[str], metric: str, mean: float, std: float, width: int
) -> None:
    lines = table([variant(name, {metric: mean_of(mean, std)}) for name in names], width=width)

    assert all(line.isprintable() for line in lines)
    assert all(figures.cells(line) <= width for line in lines)
