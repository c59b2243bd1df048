"""How the end of an attempt is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_gpuexp import documents, recording
from pytest_gpuexp.artifacts import ResultsWriter
from pytest_gpuexp.series import SeriesWriter
from pytest_gpuexp.storage.local import LocalStorage
from tests.rooms.attempts import a_result, an_attempt

NAME = "e1/records/exp_fit-0123456789abcdef.1.yaml"


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "s")


def test_files_of_an_attempt_lie_in_a_folder_of_its_own() -> None:
    assert recording.run_folder(an_attempt(3)) == "e1/runs/exp_fit-0123456789abcdef/3"


def test_a_record_is_read_back_as_it_was_committed(storage: LocalStorage, tmp_path: Path) -> None:
    result = a_result(tmp_path)

    standing = recording.commit(storage, result, documents.dump({"provenance": {"host": "a"}}))

    read = documents.read_record(storage.read(NAME))
    assert standing == result
    assert read.provenance == {"host": "a"}
    assert (read.status, read.error_type, read.seed) == ("failed", "SIGSEGV", 3)


def test_a_rehearsal_makes_a_record_and_leaves_nothing(tmp_path: Path) -> None:
    recording.rehearse(an_attempt(3), tmp_path / "run")  # what cannot be made would raise

    assert list(tmp_path.iterdir()) == []


def test_the_first_record_stands(storage: LocalStorage, tmp_path: Path) -> None:
    recording.commit(storage, a_result(tmp_path, error_message="first"), b"")

    standing = recording.commit(storage, a_result(tmp_path, error_message="second"), b"")

    assert standing.error_message == "first"
    assert documents.read_record(storage.read(NAME)).error_message == "first"


def test_who_cannot_speak_is_spoken_for_with_what_it_had_logged(tmp_path: Path) -> None:
    writer = SeriesWriter(tmp_path / "metrics.jsonl", lambda: 1.0)
    writer.append({"loss": 0.5, "odd": float("nan")}, None)
    writer.close()
    ResultsWriter(tmp_path).save_artifact("a.txt", "x")

    result = a_result(tmp_path, devices=("1", "2"))

    assert result.metrics["loss"] == 0.5
    assert result.non_finite == ("odd",)
    assert [artifact.name for artifact in result.artifacts] == ["a.txt"]
    assert result.config == {"model": {"lr": 0.1}, "seed": 3}
    assert (result.started_at, result.completed_at, result.duration_seconds) == (
        "1970-01-01T00:16:40.000Z",
        "1970-01-01T00:16:42.500Z",
        2.5,
    )
    assert result.device == "GPU 1,2"


def test_what_never_began_has_no_start(tmp_path: Path) -> None:
    result = a_result(tmp_path, status="cancelled", started=0.0)

    assert (result.started_at, result.duration_seconds, result.device) == ("", 0.0, "cpu")
