"""Thresholds judge the means over seeds, and the report says what they come to."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.behaviour import sessions
from tests.behaviour.sessions import Ended

# name -> success criteria, other words of the experiment, and what seeds and variants measure
EXPERIMENTS = {
    "any": ('{"acc": at_least(0.5, target=0.9)}', "", "lr / 10 + seed / 100"),
    "every": ('{"acc": at_least(0.5)}', 'judged="every"', "lr / 10 + seed / 100"),
    "most": ('{"acc": at_most(0.95)}', 'judged="every"', "lr / 10 + seed / 100"),
    "pivot": ('{"acc": at_least(2, failure=1)}', "", "lr / 10"),
    "short": ('{"acc": at_least(2, failure=0.1)}', "", "lr / 10"),
    "nan": ('{"acc": at_most(5)}', "", "math.nan if seed else 1.0"),
    "infinite": ('{"acc": at_least(0)}', "", "math.inf"),
    "unmeasured": ('{"acc": at_least(0.1), "loss": at_most(1)}', "", "lr / 10"),
    "missing": ('{"acc": at_least(0.1)}', "", "1 / (1 - seed)"),
    "nothing": ('{"acc": at_least(0.1)}', "", "1 / 0"),
}
SOURCE = """
    import math

    from pytest_gpuexp import at_least, at_most, experiment, grid, seeds

    pytestmark = experiment("{name}", success_criteria={criteria}, {words})

    @seeds(2)
    @grid(lr=[1, 9])
    def exp_one(runner, seed, lr):
        runner.log_metrics({{"acc": {measure}}})
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("thresholds")
    for name, (criteria, words, measure) in EXPERIMENTS.items():
        source = SOURCE.format(name=name, criteria=criteria, words=words, measure=measure)
        sessions.write(folder, **{f"exp_{name}": source})
    return sessions.run(folder, "-v")


def report(ended: Ended, name: str) -> dict[str, Any]:
    found = yaml.safe_load((ended.folder / f"results/{name}/results.yaml").read_bytes())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("name", "word", "verdict", "recommendation"),
    [
        ("any", "PASSED", "pass", "proceed"),
        ("every", "FAILED", "fail", "pivot"),
        ("most", "PASSED", "pass", "proceed"),
        ("pivot", "FAILED", "fail", "pivot"),
        ("short", "FAILED", "fail", "investigate"),
        ("nan", "FAILED", "fail", "investigate"),
        ("infinite", "FAILED", "fail", "investigate"),
        ("unmeasured", "FAILED", "undecided", "investigate"),
        ("missing", "FAILED", "undecided", "investigate"),
        ("nothing", "SKIPPED", "not_evaluated", "investigate"),
    ],
)
def test_thresholds_come_to_a_word_a_verdict_and_a_recommendation(
    ended: Ended, name: str, word: str, verdict: str, recommendation: str
) -> None:
    told = dict(re.findall(r"^exp_(\w+)\.py::success_criteria ([A-Z]+)", ended.text, re.MULTILINE))
    found = report(ended, name)

    assert told[name] == word
    assert found["assessment"]["verdict"] == verdict
    assert found["assessment"]["success_criteria_met"] is (verdict == "pass")
    assert found["recommendation"] == recommendation


def test_the_best_variant_speaks_where_any_may_meet_them(ended: Ended) -> None:
    assessment = report(ended, "any")["assessment"]

    assert assessment["acc_achieved"] == pytest.approx(0.905)
    assert assessment["variant"] == "exp_one[lr:9]"
    assert (assessment["variants_met"], assessment["variants_judged"]) == (1, 2)
    assert assessment["confidence"] == "high"


def test_the_worst_variant_speaks_where_every_one_must(ended: Ended) -> None:
    assessment = report(ended, "every")["assessment"]

    assert assessment["acc_achieved"] == pytest.approx(0.105)
    assert assessment["variants_met"] == 1


def test_the_thresholds_stand_in_the_report(ended: Ended) -> None:
    criteria = report(ended, "any")["success_criteria"]

    assert criteria["acc_threshold"] == 0.5
    assert criteria["acc_target"] == 0.9


def test_confidence_tells_how_many_required_metrics_were_measured(ended: Ended) -> None:
    assert report(ended, "unmeasured")["assessment"]["confidence"] == "medium"
    assert report(ended, "nothing")["assessment"]["confidence"] == "low"


def test_what_is_not_finite_is_told_and_kept(ended: Ended) -> None:
    assert any("not finite" in note for note in report(ended, "nan")["assessment"]["notes"])
    assert report(ended, "nan")["assessment"]["acc_achieved"] is None


def test_a_failure_says_what_was_required_and_what_was_reached(ended: Ended) -> None:
    assert (
        "success criteria not met: acc 0.9 (required >= 2); 0 of 2 variants meet all "
        "(judged='any'); best variant exp_one[lr:9]" in ended.text
    )


def test_runs_pass_although_the_experiment_does_not(ended: Ended) -> None:
    assert "PASSED exp_pivot.py::exp_one[lr:1-seed:0]" in ended.text
