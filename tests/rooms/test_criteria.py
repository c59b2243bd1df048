"""What the thresholds say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.conclusions import Assessment, Judgement, VariantSummary
from pytest_gpuexp.criteria import assess, at_least, at_most, judge_variant, satisfies
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import Experiment, ExperimentResult, Threshold
from pytest_gpuexp.summary import summarise_variants

Metrics = Mapping[str, float]

ACCURACY = {"accuracy": at_least(0.9, target=0.95, failure=0.8)}
PERCEPTION = {"lpips": at_most(0.35), "ssim": at_least(0.75)}


def variant(
    name: str = "lr:0.1",
    *replicates: Metrics | str,
    handler: str = "exp_a",
    **fields: Any,
) -> VariantSummary:
    """Make a variant; a replicate is its metrics, or the status of one that did not complete."""
    results = [
        ExperimentResult(
            experiment_id="c1",
            run_id=f"{handler}-{name}-{seed}",
            attempt=1,
            handler=handler,
            name=f"{handler}[{name}-seed:{seed}]" if name else f"{handler}[seed:{seed}]",
            path="exp_c1.py",
            status=what if isinstance(what, str) else "completed",  # type: ignore[arg-type]
            config={},
            parameters={"name": name},
            seed=seed,
            metrics={} if isinstance(what, str) else what,
            **{"verdict": "not_evaluated"} | fields,
        )
        for seed, what in enumerate(replicates)
    ]
    return summarise_variants(results)[0]


def assessed(
    thresholds: Mapping[str, Threshold],
    *variants: VariantSummary,
    judged: Any = "any",
    judgements: Sequence[Judgement] = (),
) -> Assessment:
    experiment = Experiment(experiment_id="c1", success_criteria=thresholds, judged=judged)
    return assess(experiment, variants, judgements)


def two(accuracy: float) -> tuple[Metrics, Metrics]:
    return {"accuracy": accuracy}, {"accuracy": accuracy}


def test_all_wrong_marks_of_a_threshold_are_told_at_once() -> None:
    with pytest.raises(UsageProblems) as caught:
        at_least(0.9, target=0.8, failure=0.95)

    assert str(caught.value) == (
        "at_least: 2 problems: target: 0.8 lies below acceptable 0.9; "
        "failure: 0.95 lies above acceptable 0.9"
    )


def test_the_marks_of_at_most_lie_the_other_way_round() -> None:
    at_most(0.35, target=0.2, failure=0.5)

    with pytest.raises(UsageProblems, match=r"target: 0\.4 lies above .* failure: 0\.3 lies below"):
        at_most(0.35, target=0.4, failure=0.3)


@pytest.mark.parametrize("value", ["0.9", None, True, math.nan, math.inf])
def test_a_threshold_is_a_finite_number(value: Any) -> None:
    with pytest.raises(UsageProblems, match=r"acceptable: .* is not a finite number"):
        at_least(value)


def test_the_acceptable_value_itself_is_acceptable() -> None:
    assert satisfies(at_least(0.5), 0.5)
    assert satisfies(at_most(0.5), 0.5)
    assert not satisfies(at_least(0.5), 0.4)
    assert not satisfies(at_most(0.5), 0.6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinities_never_satisfy(value: float) -> None:
    assert not satisfies(at_least(0.0), value)
    assert not satisfies(at_most(0.0), value)


@pytest.mark.parametrize(
    ("replicates", "verdict"),
    [
        (two(0.9), "pass"),
        (({"accuracy": 0.89}, {"accuracy": 0.92}), "pass"),
        (two(0.85), "fail"),
        (({"accuracy": 0.99}, "timeout"), "undecided"),
        (({"accuracy": 0.1}, "timeout"), "undecided"),
        (({"accuracy": 0.99}, {}), "undecided"),
        (("failed", "oom"), "not_evaluated"),
        (({"accuracy": math.nan}, {"accuracy": 0.99}), "fail"),
    ],
)
def test_a_variant_is_judged_by_its_mean_over_all_its_seeds(
    replicates: Sequence[Metrics | str], verdict: str
) -> None:
    assert judge_variant(ACCURACY, variant("v", *replicates)).verdict == verdict


def test_a_variant_fails_on_one_metric_whatever_is_missing_of_another() -> None:
    judgement = judge_variant(PERCEPTION, variant("v", {"lpips": 0.9}))

    assert judgement.verdict == "fail"
    assert (judgement.met, judgement.missed, judgement.unmeasured) == ([], ["lpips"], ["ssim"])


def test_any_is_met_by_one_variant_and_the_best_one_speaks() -> None:
    variants = [variant("a", *two(0.91)), variant("b", *two(0.97)), variant("c", *two(0.1))]

    assessment = assessed(ACCURACY, *variants)

    assert (assessment.met, assessment.verdict) == (True, "pass")
    assert (assessment.variants_met, assessment.variants_judged) == (2, 3)
    assert assessment.variant == "exp_a[b]"
    assert assessment.achieved == {"accuracy": 0.97}
    assert (assessment.confidence, assessment.recommendation) == ("high", "proceed")
    assert assessment.notes == (
        "2 of 3 variants meet all criteria",
        "accuracy 0.97 reaches its target 0.95",
        "best of 3 variants: its mean is biased upwards; confirm it on fresh seeds",
    )


def test_the_best_variant_that_passes_speaks_before_a_better_one_that_does_not() -> None:
    variants = [
        variant("a", {"lpips": 0.1, "ssim": 0.2}),
        variant("b", {"lpips": 0.3, "ssim": 0.8}),
    ]

    assessment = assessed(PERCEPTION, *variants)

    assert assessment.variant == "exp_a[b]"
    assert "one seed: no spread is known" in assessment.notes


def test_every_is_met_by_all_and_the_worst_one_speaks() -> None:
    variants = [variant("a", *two(0.91)), variant("b", *two(0.97))]

    assessment = assessed(ACCURACY, *variants, judged="every")

    assert (assessment.verdict, assessment.variant) == ("pass", "exp_a[a]")
    assert assessment.notes == (
        "2 of 2 variants meet all criteria",
        "accuracy 0.91 misses its target 0.95",
    )


def test_every_fails_by_one_variant() -> None:
    variants = [variant("a", *two(0.97)), variant("b", *two(0.85)), variant("c", "failed")]

    assessment = assessed(ACCURACY, *variants, judged="every")

    assert (assessment.met, assessment.verdict, assessment.variant) == (False, "fail", "exp_a[b]")
    assert assessment.notes[0] == "1 of 3 variants meets all criteria"


def test_a_variant_that_crashed_keeps_the_others_from_being_every() -> None:
    variants = [variant("a", *two(0.97)), variant("b", "failed", "timeout")]

    assessment = assessed(ACCURACY, *variants, judged="every")

    assert (assessment.met, assessment.verdict) == (False, "undecided")
    assert assessment.notes[-1] == "2 of 4 runs did not complete: 1 failed, 1 timeout"


def test_a_missing_replicate_leaves_any_undecided_and_is_told() -> None:
    variants = [variant("a", {"accuracy": 0.95}, "preempted"), variant("b", *two(0.1))]

    assessment = assessed(ACCURACY, *variants)

    assert (assessment.verdict, assessment.recommendation) == ("undecided", "investigate")
    assert assessment.variant == "exp_a[a]"
    assert "accuracy is missing in 1 of 2 replicates of exp_a[a]" in assessment.notes


@pytest.mark.parametrize(
    ("accuracy", "recommendation"),
    [(0.9, "proceed"), (0.85, "investigate"), (0.8, "pivot"), (0.1, "pivot")],
)
def test_what_is_recommended_depends_on_the_failure_mark(
    accuracy: float, recommendation: str
) -> None:
    assert assessed(ACCURACY, variant("a", *two(accuracy))).recommendation == recommendation


def test_without_a_failure_mark_what_is_not_acceptable_is_given_up() -> None:
    assessment = assessed({"accuracy": at_least(0.9)}, variant("a", *two(0.89)))

    assert assessment.recommendation == "pivot"


def test_what_is_not_finite_is_neither_achieved_nor_a_reason_to_give_up() -> None:
    assessment = assessed(ACCURACY, variant("a", *two(math.nan)))

    assert (assessment.verdict, assessment.recommendation) == ("fail", "investigate")
    assert (assessment.achieved, assessment.confidence) == ({"accuracy": None}, "low")
    assert "accuracy is not finite (nan)" in assessment.notes


def test_what_nobody_measured_is_undecided_with_less_confidence() -> None:
    assessment = assessed(PERCEPTION, variant("a", {"lpips": 0.3}))

    assert (assessment.verdict, assessment.confidence) == ("undecided", "medium")
    assert assessment.achieved == {"lpips": 0.3, "ssim": None}
    assert "ssim was not measured" in assessment.notes


def test_handlers_that_measure_something_else_do_not_count_against() -> None:
    other = variant("", {"seconds": 3.0}, handler="exp_speed")

    assessment = assessed(ACCURACY, variant("a", *two(0.91)), other, judged="every")

    assert (assessment.verdict, assessment.variants_judged) == ("pass", 1)


def test_criteria_measured_by_different_handlers_are_joined() -> None:
    variants = [
        variant("", {"lpips": 0.31}, handler="e1_1"),
        variant("k:1", {"ssim": 0.7}, handler="e1_2"),
        variant("k:2", {"ssim": 0.8}, handler="e1_2"),
    ]

    assessment = assessed(PERCEPTION, *variants)

    assert (assessment.verdict, assessment.achieved) == ("pass", {"lpips": 0.31, "ssim": 0.8})
    assert assessment.variant == "e1_1, e1_2[k:2]"
    assert (assessment.variants_met, assessment.variants_judged) == (2, 3)
    assert assessment.notes[:2] == (
        "2 of 3 variants meet all criteria that are asked of them",
        "no handler measures all criteria: lpips from e1_1; ssim from e1_2[k:2]",
    )


def test_one_joined_criterion_that_fails_fails_the_experiment() -> None:
    variants = [
        variant("", {"lpips": 0.9}, handler="e1_1"),
        variant("", {"ssim": 0.8}, handler="e1_2"),
    ]

    assert assessed(PERCEPTION, *variants).verdict == "fail"


def test_variants_of_one_handler_are_not_joined_to_pass_together() -> None:
    variants = [
        variant("a", {"lpips": 0.1, "ssim": 0.1}),
        variant("b", {"lpips": 0.9, "ssim": 0.9}),
    ]

    assert assessed(PERCEPTION, *variants).verdict == "fail"


@pytest.mark.parametrize("judged", ["any", "every"])
def test_nothing_completed_is_not_evaluated(judged: str) -> None:
    for variants in ([], [variant("a", "failed")]):
        assessment = assessed(ACCURACY, *variants, judged=judged)

        assert (assessment.met, assessment.verdict) == (False, "not_evaluated")
        assert (assessment.variant, assessment.confidence) == (None, "low")
        assert assessment.recommendation == "investigate"


def test_a_criterion_that_fails_asks_for_an_investigation() -> None:
    failed = Judgement(name="crit_stable[a]", verdict="fail")

    assessment = assessed(ACCURACY, variant("a", *two(0.95)), judgements=[failed])

    assert (assessment.verdict, assessment.recommendation) == ("pass", "investigate")
    assert assessment.notes[-1] == "crit_stable[a] failed"


def test_a_criterion_that_was_expected_to_fail_changes_nothing() -> None:
    failed = Judgement(name="crit_stable[a]", verdict="fail", expected_failure="known")

    assessment = assessed(ACCURACY, variant("a", *two(0.95)), judgements=[failed])

    assert assessment.recommendation == "proceed"


def test_assertions_that_failed_are_counted() -> None:
    assessment = assessed(ACCURACY, variant("a", *two(0.95), verdict="fail"))

    assert assessment.notes[-1] == "assertions failed in 2 of 2 runs"


def test_many_criteria_that_failed_are_not_all_named() -> None:
    failed = [Judgement(name=f"crit_{index}", verdict="fail") for index in range(7)]

    assessment = assessed(ACCURACY, variant("a", *two(0.95)), judgements=failed)

    assert assessment.notes[-1] == "crit_0, crit_1, crit_2, crit_3, crit_4, 2 more failed"


@pytest.mark.parametrize(
    ("verdicts", "judgement", "verdict", "recommendation"),
    [
        (["pass"], None, "pass", "proceed"),
        (["pass", "not_evaluated"], None, "pass", "proceed"),
        (["pass", "fail"], None, "fail", "investigate"),
        (["not_evaluated"], None, "not_evaluated", "investigate"),
        (["not_evaluated"], "pass", "pass", "proceed"),
        (["pass"], "fail", "fail", "investigate"),
        (["pass"], "undecided", "undecided", "investigate"),
    ],
)
def test_without_thresholds_assertions_and_criteria_decide(
    verdicts: list[str], judgement: Any, verdict: str, recommendation: str
) -> None:
    variants = [variant(str(i), {}, verdict=own) for i, own in enumerate(verdicts)]
    judgements = [Judgement(name="crit", verdict=judgement)] if judgement else []

    assessment = assessed({}, *variants, judgements=judgements)

    assert (assessment.met, assessment.verdict) == (None, verdict)
    assert assessment.recommendation == recommendation


def test_without_thresholds_a_crash_leaves_it_undecided() -> None:
    assessment = assessed({}, variant("a", {}, verdict="pass"), variant("b", "failed"))

    assert (assessment.verdict, assessment.confidence) == ("undecided", "medium")


@given(
    st.lists(
        st.lists(st.sampled_from([0.1, 0.85, 0.9, 0.99, math.nan, "oom"]), min_size=1, max_size=3),
        max_size=4,
    ),
    st.sampled_from(["any", "every"]),
)
def test_the_verdict_follows_from_those_of_the_variants(
    table: list[list[Any]], judged: Any
) -> None:
    variants = [
        variant(str(i), *(v if isinstance(v, str) else {"accuracy": v} for v in row))
        for i, row in enumerate(table)
    ]

    assessment = assessed(ACCURACY, *variants, judged=judged)

    verdicts = [judge_variant(ACCURACY, each).verdict for each in variants]
    assert assessment.variants_met == verdicts.count("pass")
    if judged == "any":
        assert assessment.met == ("pass" in verdicts)
    else:
        assert assessment.met == (set(verdicts) == {"pass"})
        assert (assessment.verdict == "fail") == ("fail" in verdicts)
    assert (assessment.recommendation == "proceed") == bool(assessment.met)
