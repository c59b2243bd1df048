"""How an assessment reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_gpuexp import figures
from pytest_gpuexp.assessments import assessment_line, assessment_lines, heading
from pytest_gpuexp.conclusions import Assessment, ExperimentReport, Judgement
from pytest_gpuexp.records import Experiment, Threshold

EXPERIMENT = Experiment(
    experiment_id="c1-digits-mlp",
    claim="Digits can be\ntold apart.",
    success_criteria={
        "accuracy": Threshold(direction="at_least", acceptable=0.93, target=0.97, failure=0.85)
    },
)
ASSESSMENT = Assessment(
    met=True,
    verdict="pass",
    achieved={"accuracy": 0.97222},
    variant="exp_mlp[lr:0.1]",
    variants_met=2,
    variants_judged=4,
    confidence="high",
    recommendation="proceed",
)
REPORT = ExperimentReport(experiment=EXPERIMENT, variants=(), assessment=ASSESSMENT)
PLACE = "results/c1-digits-mlp/results.yaml"


def lines_of(report: ExperimentReport, *, width: int = 100, **options: Any) -> list[str]:
    lines = assessment_lines(report, width=width, place=PLACE, **options)
    return ["".join(text for text, _ in line) for line in lines]


def assessed(**fields: Any) -> ExperimentReport:
    return replace(REPORT, assessment=replace(ASSESSMENT, **fields))


def test_everything_that_was_concluded_has_its_line() -> None:
    report = assessed(notes=["Seeds 0 and 1 differ."])

    assert lines_of(report) == [
        "  verdict         pass: 2 of 4 variants met all criteria",
        "  achieved        accuracy 0.9722 >= 0.93 (target 0.97 reached)",
        "  by              exp_mlp[lr:0.1]",
        "  confidence      high",
        "  recommendation  proceed",
        "  note            Seeds 0 and 1 differ.",
        f"  report          {PLACE}",
    ]


@pytest.mark.parametrize(
    ("achieved", "shown"),
    [
        (0.95, "accuracy 0.95 >= 0.93 (target 0.97 missed)"),
        (0.9, "accuracy 0.9 < 0.93 (target 0.97 missed)"),
        (0.8, "accuracy 0.8 < 0.93 (target 0.97 missed) (the claim is given up at 0.85)"),
        (None, "accuracy not measured, >= 0.93 needed"),
        (float("nan"), "accuracy not measured, >= 0.93 needed"),
    ],
)
def test_the_achieved_value_stands_beside_its_threshold(achieved: float, shown: str) -> None:
    assert f"  achieved        {shown}" in lines_of(assessed(achieved={"accuracy": achieved}))


def test_less_is_better_where_the_threshold_says_so() -> None:
    experiment = replace(
        EXPERIMENT, success_criteria={"loss": Threshold(direction="at_most", acceptable=0.1)}
    )
    report = replace(assessed(achieved={"loss": 0.2}), experiment=experiment)

    assert "  achieved        loss 0.2 > 0.1" in lines_of(report)


def test_an_experiment_without_criteria_or_judged_variants_says_so() -> None:
    bare = replace(REPORT, experiment=Experiment(experiment_id="c1"))
    empty = assessed(verdict="not_evaluated", variants_judged=0, variants_met=0)

    assert lines_of(bare)[0] == "  verdict         pass: no success criteria are set"
    assert lines_of(empty)[0] == "  verdict         not evaluated: no variant could be judged"


def test_where_every_variant_has_to_meet_the_criteria_it_is_said() -> None:
    report = replace(REPORT, experiment=replace(EXPERIMENT, judged="every"))

    assert "2 of 4 variants met all criteria, each has to" in lines_of(report)[0]


def test_judgements_show_their_explanation_and_an_expected_failure_its_reason() -> None:
    report = replace(
        REPORT,
        judgements=[
            Judgement(name="crit_stable", verdict="pass", explanation="0.01 < 0.02\nmore"),
            Judgement(name="crit_small", verdict="fail", expected_failure="not yet"),
        ],
    )

    lines = lines_of(report)

    assert "  criterion       pass crit_stable: 0.01 < 0.02" in lines
    assert "  criterion       fail crit_small (expected: not yet)" in lines


def test_of_many_judgements_only_those_that_did_not_pass_are_told_one_by_one() -> None:
    many = [Judgement(name=f"crit_{index}", verdict="pass") for index in range(40)]
    report = replace(REPORT, judgements=[*many, Judgement(name="crit_bad", verdict="fail")])

    lines = lines_of(report)
    all_lines = lines_of(report, every_judgement=True)

    assert lines[3:5] == ["  criteria        40 of 41 pass", "  criterion       fail crit_bad"]
    assert sum(line.startswith("  criterion") for line in all_lines) == 41


def test_long_notes_are_wrapped_and_the_place_of_the_report_is_not() -> None:
    report = assessed(notes=["word " * 60])

    lines = lines_of(report, width=60)

    assert all(figures.cells(line) <= 60 for line in lines)
    assert lines[-1].endswith(PLACE)


def test_the_heading_gives_the_claim_and_a_status_other_than_completed() -> None:
    whole = "".join(text for text, _ in heading(REPORT))
    part = "".join(text for text, _ in heading(replace(REPORT, status="partial")))

    assert whole == "c1-digits-mlp  Digits can be"
    assert part == "c1-digits-mlp  (partial)  Digits can be"


def test_one_line_holds_recommendation_reason_and_place() -> None:
    assert assessment_line(REPORT, place=PLACE) == (
        f"c1-digits-mlp: proceed (accuracy 0.9722 >= 0.93), {PLACE}"
    )
    assert assessment_line(replace(REPORT, experiment=Experiment(experiment_id="c2"))) == (
        "c2: proceed (pass)"
    )
