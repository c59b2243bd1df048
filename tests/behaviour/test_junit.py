"""JUnit's file tells verdicts from crashes, and has a case for each run."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.behaviour import sessions

SOURCE = """
    import os
    import pytest
    from pytest_gpuexp import at_least, experiment, seeds

    pytestmark = experiment("junit", success_criteria={"acc": at_least(0.9)})

    @seeds(2)
    def exp_good(runner, seed):
        runner.log_metrics({"acc": 0.5})

    def exp_verdict(runner):
        print("said before")
        runner.log_metrics({"loss": 0.25})
        assert 1 == 2

    def exp_crash(runner):
        raise ValueError("broken")

    def exp_died(runner):
        os._exit(3)

    @pytest.mark.skip(reason="not today")
    def exp_skipped(runner): ...

    @pytest.mark.xfail(reason="too bold")
    def exp_expected(runner):
        assert 1 == 2

    @pytest.mark.xfail(reason="hides no crash")
    def exp_crash_under_xfail(runner):
        raise ValueError("broken")

    @pytest.mark.xfail(raises=ValueError, reason="known")
    def exp_expected_crash(runner):
        raise ValueError("broken")

    @pytest.mark.xfail(reason="too timid", strict=True)
    def exp_strict(runner):
        assert 1 == 1

    @pytest.mark.xfail(reason="too timid")
    def exp_surprise(runner):
        assert 1 == 1
"""


@pytest.fixture(scope="module", params=["local", "in-process", "xdist"])
def ended(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> sessions.Ended:
    way = ["-n", "2"] if request.param == "xdist" else [f"--backend={request.param}"]
    source = SOURCE.replace("os._exit(3)", "1 / 0") if request.param == "in-process" else SOURCE
    folder = sessions.write(tmp_path_factory.mktemp("junit"), exp_junit=source)
    return sessions.run(folder, *way, "--junitxml=junit.xml", "-v")


@pytest.fixture(scope="module")
def cases(ended: sessions.Ended) -> dict[str, ET.Element]:
    tree = ET.parse(ended.folder / "junit.xml")
    return {str(case.get("name")): case for case in tree.iter("testcase")}


EXPECTED = {
    "exp_good[seed:0]": ("", "PASSED", "completed", "not_evaluated"),
    "exp_good[seed:1]": ("", "PASSED", "completed", "not_evaluated"),
    "exp_verdict": ("failure", "FAILED", "completed", "fail"),
    "exp_crash": ("error", "ERROR", "failed", "not_evaluated"),
    "exp_died": ("error", "ERROR", "failed", "not_evaluated"),
    "exp_skipped": ("skipped", "SKIPPED", "skipped", "not_evaluated"),
    "exp_expected": ("skipped", "XFAIL", "completed", "fail"),
    "exp_crash_under_xfail": ("error", "ERROR", "failed", "not_evaluated"),
    "exp_expected_crash": ("skipped", "XFAIL", "failed", "not_evaluated"),
    "exp_strict": ("failure", "FAILED", "completed", "pass"),
    "exp_surprise": ("", "XPASS", "completed", "pass"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_end_of_a_run_has_its_element(cases: dict[str, ET.Element], name: str) -> None:
    found = [child.tag for child in cases[name] if child.tag in ("failure", "error", "skipped")]

    assert found == [EXPECTED[name][0]] * bool(EXPECTED[name][0])


@pytest.mark.parametrize("name", EXPECTED)
def test_each_end_of_a_run_has_its_word(ended: sessions.Ended, name: str) -> None:
    summary = ended.text.rpartition("short test summary info")[2]
    word = EXPECTED[name][1]

    if word != "SKIPPED":  # pytest folds them by place
        assert f"{word} exp_junit.py::{name}" in summary


@pytest.mark.parametrize("name", EXPECTED)
def test_each_end_of_a_run_has_its_status_and_verdict(ended: sessions.Ended, name: str) -> None:
    record = ended.record(name)

    assert (record["status"], record["verdict"]) == EXPECTED[name][2:]


def test_every_item_is_counted_once(ended: sessions.Ended) -> None:
    suite = next(ET.parse(ended.folder / "junit.xml").iter("testsuite"))

    assert suite.get("tests") == str(len(EXPECTED) + 1)
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("3", "3", "3")
    assert "3 failed, 2 passed, 1 skipped, 2 xfailed, 1 xpassed, 3 errors" in ended.text
    assert ended.code == 1


def test_metrics_are_properties_of_their_case(cases: dict[str, ET.Element]) -> None:
    properties = {p.get("name"): p.get("value") for p in cases["exp_verdict"].iter("property")}

    assert properties["loss"] == "0.25"


def test_the_thresholds_have_a_case(cases: dict[str, ET.Element]) -> None:
    (failure,) = cases["success_criteria"].iter("failure")

    assert "acc 0.5 (required >= 0.9)" in str(failure.text)
