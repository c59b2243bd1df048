"""What a session knows of its runs: its own results, over those that are stored."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pytest_gpuexp import recording
from pytest_gpuexp.errors import RecordInvalid
from pytest_gpuexp.knowledge import Knowledge
from pytest_gpuexp.storage.local import LocalStorage
from tests.rooms.attempts import a_result, a_spec


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "s")


@pytest.fixture
def knowledge(storage: LocalStorage) -> Knowledge:
    return Knowledge(storage, durable=False)


def test_what_is_stored_is_known(
    knowledge: Knowledge, storage: LocalStorage, tmp_path: Path
) -> None:
    stored = recording.commit(storage, a_result(tmp_path), b"")

    known = knowledge.known([a_spec(), a_spec(run_id="exp_fit-never")])

    assert list(known) == [stored.run_id]
    assert known[stored.run_id].error_message == "killed"


def test_a_result_of_this_session_speaks_before_a_stored_one(
    knowledge: Knowledge, storage: LocalStorage, tmp_path: Path
) -> None:
    stored = recording.commit(storage, a_result(tmp_path), b"")
    knowledge.known([a_spec()])
    mine = dataclasses.replace(stored, attempt=2, status="completed")

    knowledge.results[mine.run_id] = mine

    assert knowledge.known([a_spec()]) == {mine.run_id: mine}


def test_a_record_is_read_once(knowledge: Knowledge, storage: LocalStorage, tmp_path: Path) -> None:
    stored = recording.commit(storage, a_result(tmp_path), b"")
    knowledge.known([a_spec()])

    storage.delete(recording.record_name(stored))

    assert stored.run_id in knowledge.known([a_spec()])


def test_a_record_that_cannot_be_read_is_named(knowledge: Knowledge, storage: LocalStorage) -> None:
    name = "e1/records/exp_fit-0123456789abcdef.1.yaml"
    storage.write(name, b"version: [")

    with pytest.raises(RecordInvalid, match=r"exp_fit-0123456789abcdef\.1\.yaml"):
        knowledge.known([a_spec()])


def test_runs_that_nobody_asks_about_cost_nothing(knowledge: Knowledge) -> None:
    assert knowledge.known([]) == {}
