"""Criteria are items of their own: judged last, from stored results, each with its own line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.behaviour import sessions
from tests.behaviour.sessions import Ended

EXPERIMENT = '''
    """C2: criteria of all kinds."""
    import math

    import numpy as np
    import pytest

    from pytest_gpuexp import criterion, experiment, grid, seeds

    pytestmark = experiment("criteria")

    def crit_collected_last_though_written_first(replicates):
        pass

    @seeds(3)
    @grid(lr=[1, 2])
    def exp_swept(runner, seed, lr):
        runner.log_metrics({"accuracy": lr / 10 + seed / 100})

    @seeds(2)
    def exp_half_broken(runner, seed):
        if seed:
            raise ValueError("broken")
        return {"metrics": {"accuracy": 0.5}}

    def exp_broken(runner):
        raise ValueError("broken")

    def exp_nan(runner):
        return {"metrics": {"accuracy": math.nan}}

    crit_collected_last_though_written_first = criterion(exp_swept, over="all")(
        crit_collected_last_though_written_first
    )

    @criterion(exp_swept, over="seed")
    def crit_seed(replicates):
        assert replicates["accuracy"].shape == (3,)
        assert replicates["accuracy"].mean() > 0.2

    @criterion(exp_swept, over="run")
    def crit_run(one):
        assert one["accuracy"] < 0.22

    @criterion(exp_swept, over="all")
    def crit_all(everything):
        assert everything["accuracy"].shape == (6,)
        low, high = everything.variants
        assert low["accuracy"].max() < high["accuracy"].min()

    @criterion(exp_swept, over="all")
    def crit_fixtures(any_name, limit, tmp_path):
        assert any_name["accuracy"].max() < limit

    @criterion(exp_half_broken)
    def crit_undecided(replicates):
        assert replicates["accuracy"].mean() > 0.4

    @pytest.mark.xfail(reason="wishful")
    @criterion(exp_half_broken)
    def crit_undecided_though_expected_to_fail(replicates):
        assert replicates["accuracy"].mean() > 0.4

    @criterion(exp_broken)
    def crit_not_evaluated(replicates):
        assert replicates["accuracy"].mean() > 0.4

    @criterion(exp_nan)
    def crit_nan(replicates):
        assert replicates["accuracy"].mean() > 0

    @pytest.mark.xfail(reason="too bold")
    @criterion(exp_swept, over="all")
    def crit_expected(replicates):
        assert replicates["accuracy"].min() > 0.9

    @pytest.mark.xfail(reason="too timid")
    @criterion(exp_swept, over="all")
    def crit_surprising(replicates):
        assert replicates["accuracy"].min() > 0

    @pytest.mark.xfail(reason="too timid", strict=True)
    @criterion(exp_swept, over="all")
    def crit_strict(replicates):
        assert replicates["accuracy"].min() > 0

    @criterion(exp_swept, over="all")
    def crit_crashed(replicates):
        replicates["acuracy"]

    @pytest.mark.xfail(reason="hides nothing")
    @criterion(exp_swept, over="all")
    def crit_crashed_though_expected_to_fail(replicates):
        replicates.nothing_of_the_kind

    @criterion(exp_swept, over="all")
    def crit_numpy(replicates):
        np.testing.assert_allclose(replicates["accuracy"], 0)
'''
CONFTEST = """
    import pytest

    @pytest.fixture
    def limit():
        return 0.5
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("criteria")
    sessions.write(folder, exp_criteria=EXPERIMENT, conftest=CONFTEST)
    return sessions.run(folder, "-v", "--junitxml=junit.xml")


def words(ended: Ended) -> dict[str, str]:
    """Return pytest's word for each criterion, from the lines of ``-v``."""
    return dict(re.findall(r"^exp_criteria\.py::(crit_\S+) ([A-Z]+)", ended.text, re.MULTILINE))


def judged(ended: Ended) -> dict[str, str]:
    """Return the verdict on each criterion, from ``results.yaml``."""
    report = yaml.safe_load((ended.folder / "results/criteria/results.yaml").read_bytes())
    return {entry["name"]: entry["verdict"] for entry in report["criteria"]}


@pytest.mark.parametrize(
    ("name", "word", "verdict"),
    [
        ("crit_seed[lr:1]", "FAILED", "fail"),
        ("crit_seed[lr:2]", "PASSED", "pass"),
        ("crit_run[lr:1-seed:0]", "PASSED", "pass"),
        ("crit_run[lr:2-seed:1]", "PASSED", "pass"),
        ("crit_run[lr:2-seed:2]", "FAILED", "fail"),
        ("crit_all", "PASSED", "pass"),
        ("crit_fixtures", "PASSED", "pass"),
        ("crit_undecided", "FAILED", "undecided"),
        ("crit_undecided_though_expected_to_fail", "FAILED", "undecided"),
        ("crit_not_evaluated", "SKIPPED", "not_evaluated"),
        ("crit_nan", "FAILED", "fail"),
        ("crit_expected", "XFAIL", "fail"),
        ("crit_surprising", "XPASS", "pass"),
        ("crit_strict", "FAILED", "pass"),
        ("crit_crashed", "ERROR", "not_evaluated"),
        ("crit_crashed_though_expected_to_fail", "ERROR", "not_evaluated"),
        ("crit_numpy", "ERROR", "not_evaluated"),
    ],
)
def test_each_criterion_has_its_word_and_its_verdict(
    ended: Ended, name: str, word: str, verdict: str
) -> None:
    assert words(ended)[name] == word
    assert judged(ended)[name] == verdict


def test_criteria_are_judged_after_the_last_run_wherever_they_are_written(ended: Ended) -> None:
    lines = ended.text.splitlines()
    runs = [number for number, line in enumerate(lines) if "exp_criteria.py::exp_" in line]
    first = next(n for n, line in enumerate(lines) if line.startswith("exp_criteria.py::crit_"))

    assert len([number for number in runs if number < first]) == 10


def test_an_undecided_criterion_says_which_runs_are_missing(ended: Ended) -> None:
    assert "undecided: 1 of 2 runs not completed: exp_half_broken[seed:1]: failed" in ended.text


def test_a_criterion_without_results_says_that_none_is_there(ended: Ended) -> None:
    assert "not evaluated: none of 1 run is completed" in ended.text


def test_a_misspelt_metric_lists_those_that_were_reported(ended: Ended) -> None:
    assert "'acuracy' is not a metric of exp_swept; it reported: accuracy" in ended.text


def test_junit_has_a_case_for_each_judgement(ended: Ended) -> None:
    junit = (ended.folder / "junit.xml").read_text()

    assert re.search(r'name="crit_seed\[lr:1\]"[^>]*><failure', junit)
    assert re.search(r'name="crit_seed\[lr:2\]"[^>]*/>', junit)
    assert re.search(r'name="crit_crashed"[^>]*><error', junit)
    assert re.search(r'name="crit_not_evaluated"[^>]*><skipped', junit)


def test_an_xfail_reason_stands_beside_the_verdict(ended: Ended) -> None:
    report = yaml.safe_load((ended.folder / "results/criteria/results.yaml").read_bytes())
    (entry,) = [one for one in report["criteria"] if one["name"] == "crit_expected"]

    assert entry["expected_failure"] == "too bold"


SMALL = """
    import os

    from pytest_gpuexp import criterion, experiment, seeds

    pytestmark = experiment("small")

    @seeds(2)
    def exp_one(runner, seed):
        with open("ran.txt", "a") as file:
            file.write(f"{seed}\\n")
        runner.log_metrics({"accuracy": float(os.environ.get("ACCURACY", "0.5"))})

    def exp_two(runner):
        return {"metrics": {"loss": 1.0}}

    @criterion(exp_one, over="seed")
    def crit_one(replicates):
        assert replicates["accuracy"].mean() > LIMIT

    @criterion(exp_two)
    def crit_two(replicates):
        assert replicates["loss"].mean() > 0
"""


def small(folder: Path, limit: float = 0.9) -> Path:
    return sessions.write(folder, exp_small=SMALL.replace("LIMIT", str(limit)))


def ran(folder: Path) -> list[str]:
    file = folder / "ran.txt"
    return sorted(file.read_text().split()) if file.exists() else []


@pytest.fixture(scope="module")
def stored_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small(tmp_path_factory.mktemp("stored"), limit=0.6)
    sessions.run(folder)
    return folder


@pytest.fixture
def stored(stored_once: Path, tmp_path: Path) -> Path:
    """Return a folder with the experiment, and with what a session has stored: accuracy 0.5."""
    return Path(shutil.copytree(stored_once, tmp_path / "stored"))


def test_k_with_the_name_of_a_handler_selects_its_criteria(tmp_path: Path) -> None:
    ended = sessions.run(small(tmp_path, limit=0.4), "-k", "exp_one")

    assert "PASSED exp_small.py::crit_one" in ended.text
    assert "exp_two" not in ended.text.partition("short test summary")[2]
    assert "2 deselected" in ended.text


def test_k_with_a_seed_runs_it_and_judges_over_the_stored_others(stored: Path) -> None:
    ended = sessions.run(stored, "-k", "seed:0 or crit_one", changes={"ACCURACY": "0.8"})

    assert "PASSED exp_small.py::crit_one" in ended.text
    assert ran(stored) == ["0", "0", "1"]


def test_a_criterion_by_its_node_id_is_judged_from_the_storage(stored: Path) -> None:
    small(stored, limit=0.4)

    ended = sessions.run(stored, "exp_small.py::crit_one")

    assert (ended.code, ran(stored)) == (0, ["0", "1"])
    assert "1 passed" in ended.text


def test_a_criterion_without_any_stored_result_lets_no_session_pass(tmp_path: Path) -> None:
    ended = sessions.run(small(tmp_path), "exp_small.py::crit_one")

    assert ended.code == 1
    assert "nothing was evaluated" in ended.text
    assert "SKIPPED" in ended.text


def test_a_record_that_cannot_be_read_is_named(stored: Path) -> None:
    report = (stored / "results/small/results.yaml").read_bytes()
    victim = next((stored / "results/small/records").glob("exp_one*"))
    victim.write_text("version: 1\nexperiment_id: [small\n")

    ended = sessions.run(stored, "-k", "crit_one or crit_two")

    assert ended.code == 1
    assert f"small/records/{victim.name}" in ended.text
    assert "not judged:" in ended.text
    assert "INTERNALERROR" not in ended.text
    assert "results.yaml stays as it was" in ended.text
    assert (stored / "results/small/results.yaml").read_bytes() == report


def test_a_criterion_of_no_handler_is_an_error_of_collection(tmp_path: Path) -> None:
    source = """
        from pytest_gpuexp import criterion

        def exp_one(runner): ...

        def other(): ...

        @criterion(other)
        def crit_lost(replicates): ...

        @criterion(exp_one, over="seeds")
        def crit_over(replicates): ...

        @criterion(exp_one)
        def crit_nothing(): ...
    """

    ended = sessions.run(sessions.write(tmp_path, exp_wrong=source))

    assert ended.code == 2
    assert "crit_lost" in ended.text
    assert "is no handler here (exp_one)" in ended.text
    assert "crit_over: over='seeds' is not 'run', 'seed' or 'all'" in ended.text
    assert "crit_nothing: it takes no argument" in ended.text
