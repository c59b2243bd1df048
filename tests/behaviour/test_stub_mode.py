"""`--stub-mode` goes the whole way without the handlers' bodies, beside the real results."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.behaviour import sessions

EXPERIMENT = """
import pytest
from pytest_gpuexp import at_least, criterion, experiment, grid, seeds

pytestmark = experiment("c1", success_criteria={"accuracy": at_least(0.9)})

@pytest.fixture
def data(lr):
    return lr

@grid(lr=[0.1, 0.2])
@seeds(2)
def exp_a(runner, data):
    print("the body was executed")
    return {"metrics": {"accuracy": 1.0}}

@criterion(exp_a)
def crit_a(replicates):
    assert replicates["accuracy"].mean() > 0.5
"""


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory: pytest.TempPathFactory) -> sessions.Ended:
    folder = sessions.write(tmp_path_factory.mktemp("stubbed"), exp_a=EXPERIMENT)
    return sessions.run(folder, "--stub-mode")


def test_a_stubbed_session_passes_and_says_what_it_is(stubbed: sessions.Ended) -> None:
    assert stubbed.code == 0, stubbed.text
    assert "stub mode nothing is judged" in stubbed.text
    assert "4 passed, 3 skipped" in stubbed.text


def test_no_body_is_executed(stubbed: sessions.Ended) -> None:
    assert "the body was executed" not in stubbed.text


def test_nothing_is_judged(stubbed: sessions.Ended) -> None:
    assert "exp_a.py::crit_a[lr:0.1]" not in stubbed.text.replace("SKIPPED", "")
    assert "stub mode judges nothing" in stubbed.text


def test_records_and_artifacts_go_to_a_folder_of_their_own(stubbed: sessions.Ended) -> None:
    results = stubbed.folder / "results"
    records = sorted((results / ".stub" / "c1" / "records").glob("*.yaml"))

    assert [path.name for path in results.iterdir()] == [".stub"]
    assert len(records) == 4
    for path in records:
        record = yaml.safe_load(path.read_bytes())
        assert record["stub"] is True
        assert record["status"] == "completed"
        assert record["verdict"] == "not_evaluated"
        assert record["finding"] == "stub: the handler's body was not executed"
        assert [artifact["name"] for artifact in record["artifacts"]] == ["stub.txt"]


def test_a_report_is_written_that_claims_nothing(stubbed: sessions.Ended) -> None:
    report = yaml.safe_load((stubbed.folder / "results/.stub/c1/results.yaml").read_bytes())

    assert report["assessment"]["success_criteria_met"] is not True
    assert report["assessment"]["verdict"] not in ("pass", "fail")
    assert report["assessment"]["accuracy_achieved"] is None


def test_real_runs_know_nothing_of_stubs(stubbed: sessions.Ended) -> None:
    ended = sessions.run(stubbed.folder)

    assert ended.code == 0, ended.text
    assert {record.name.split(".")[1] for record in ended.record_files()} == {"1"}
    assert ended.record("exp_a[lr:0.1-seed:0]")["metrics"] == {"accuracy": 1.0}


def test_stubs_run_in_process_and_in_any_storage(tmp_path: Path) -> None:
    folder = sessions.write(tmp_path, exp_a=EXPERIMENT)

    ended = sessions.run(folder, "--gpuexp-stub-mode", "--backend=in-process", "--storage=other")

    assert ended.code == 0, ended.text
    assert len(list((folder / "other/.stub/c1/records").glob("*.yaml"))) == 4
