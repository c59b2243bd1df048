from __future__ import annotations

from pathlib import Path

import pytest

from pytest_gpuexp.errors import StorageError, UsageProblems
from pytest_gpuexp.registry import read_registry, standings, unmet
from pytest_gpuexp.storage.local import LocalStorage

LISTED = """
experiments:
  - experiment_id: c1
    sub_experiments: [{id: e1_1, description: first}, e1_2]
    status: completed
  - id: c2
    dependencies: [c1]
"""


def test_experiments_may_be_a_list_and_a_done_one_needs_no_results(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(LISTED)

    plan = read_registry(tmp_path / "plan.yaml")
    known = standings(plan, LocalStorage(tmp_path))

    assert plan["c1"].sub_experiments == {"e1_1": "first", "e1_2": ""}
    assert (known["c1"].met, known["c2"].met) == (True, None)
    assert unmet(plan, known, plan) == []


def test_results_outrank_what_the_plan_says(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(LISTED)
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1/results.yaml").write_text(
        "status: completed\nassessment: {success_criteria_met: false}\n"
    )
    plan = read_registry(tmp_path / "plan.yaml")

    known = standings(plan, LocalStorage(tmp_path))

    assert unmet(plan, known, ["c2", "elsewhere"]) == [
        "c2 depends on c1, which is not met (completed, not met)"
    ]


@pytest.mark.parametrize("text", ["- a list", "word", "cut: {", "assessment: [1]"])
def test_results_that_cannot_be_read_are_told_and_meet_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.yaml").write_text(LISTED)
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1/results.yaml").write_text(text)
    plan = read_registry(tmp_path / "plan.yaml")

    known = standings(plan, LocalStorage(tmp_path))

    assert unmet(plan, known, ["c2"]) == [
        "c2 depends on c1, which is not met (completed, its results cannot be read)"
    ]


def test_all_that_is_wrong_with_a_registry_is_told(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(
        "experiments:\n  a: 3\n  ../up: {}\n  b: {dependencies: [z], success_criteria: {m: 1}}\n"
        "  c: {dependencies: [d]}\n  d: {dependencies: [c], sub_experiments: 3}\n"
    )

    with pytest.raises(UsageProblems) as caught:
        read_registry(tmp_path / "plan.yaml")

    told = str(caught.value)
    for words in (
        "6 problems: a: it is 3, not a mapping; ",
        "experiment id '../up' names a folder",
        "b: success_criteria: m: 1 is not a mapping",
        "d: sub_experiments is neither a list nor a mapping",
        "b: it depends on 'z', which is not there (b, c, d)",
        "these wait for each other: c, d",
    ):
        assert words in told


def test_a_registry_without_experiments_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("other: 1\n")

    with pytest.raises(UsageProblems, match="it has no experiments"):
        read_registry(tmp_path / "plan.yaml")
    with pytest.raises(StorageError, match="cannot be read"):
        read_registry(tmp_path / "nowhere.yaml")
