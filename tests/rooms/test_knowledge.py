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


def test_a_result_is_of_the_variant_that_its_run_is_of_now(
    knowledge: Knowledge, storage: LocalStorage, tmp_path: Path
) -> None:
    stored = recording.commit(storage, a_result(tmp_path), b"")
    spec = dataclasses.replace(a_spec(), seeded=("lr",))

    [known] = knowledge.known([spec]).values()

    assert (stored.seeded, known.seeded) == ((), ("lr",))
    assert knowledge.keep(spec).seeded == ("lr",)


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


def resumed(storage: LocalStorage) -> Knowledge:
    return Knowledge(storage, durable=False, indexed=True)


def test_a_review_tells_records_from_damage_and_from_claims(
    storage: LocalStorage, tmp_path: Path
) -> None:
    stored = recording.commit(storage, a_result(tmp_path), b"")
    storage.write("e1/records/damaged.1.yaml", b"version: [")
    storage.write("e1/jobs/claimed.1.yaml", b"run_id: claimed\n")
    runs = [a_spec(run_id=one) for one in (stored.run_id, "damaged", "claimed", "never")]

    known = resumed(storage).review(runs)

    assert {one: record.status for one, record in known.records.items()} == {
        stored.run_id: "failed"
    }
    assert known.unreadable == {"damaged": "e1/records/damaged.1.yaml"}
    assert set(known.begun) == {"claimed"}
    assert resumed(storage).review([]).records == {}


def test_what_was_broken_off_last_does_not_hide_what_had_ended(
    storage: LocalStorage, tmp_path: Path
) -> None:
    ended = recording.commit(storage, a_result(tmp_path), b"")
    recording.commit(storage, dataclasses.replace(ended, attempt=2, status="cancelled"), b"")

    known = resumed(storage).review([a_spec()])

    assert known.records[ended.run_id].status == "failed"


def test_the_next_session_reads_no_record_that_this_one_wrote(
    storage: LocalStorage, tmp_path: Path
) -> None:
    knowledge = resumed(storage)
    knowledge.review([a_spec()])
    result = recording.commit(storage, a_result(tmp_path), b"")
    knowledge.take(result)
    knowledge.save()
    storage.write(recording.record_name(result), b"not read")

    again = resumed(storage)

    assert again.review([a_spec()]).records[result.run_id].status == "failed"
    assert again.keep(a_spec()) == result
    assert again.known([a_spec()]) == {result.run_id: result}


MANY = 200


def finish(knowledge: Knowledge, storage: LocalStorage, runs: range, folder: Path) -> None:
    knowledge.ledger("e1")  # as a claim does
    for number in runs:
        result = dataclasses.replace(a_result(folder), run_id=f"exp_fit-{number:016x}")
        knowledge.take(recording.commit(storage, result, b""))


def indexed(storage: LocalStorage) -> int:
    """Return of how many records the index speaks."""
    if not storage.exists("e1/index.jsonl"):
        return 0
    return storage.read("e1/index.jsonl").count(b"\n") - 1


def test_a_session_of_few_runs_leaves_no_index(
    knowledge: Knowledge, storage: LocalStorage, tmp_path: Path
) -> None:
    finish(knowledge, storage, range(MANY - 1), tmp_path)

    knowledge.save()

    assert indexed(storage) == 0


def test_a_session_of_many_runs_leaves_an_index_for_the_first_that_resumes(
    knowledge: Knowledge, storage: LocalStorage, tmp_path: Path
) -> None:
    finish(knowledge, storage, range(MANY), tmp_path)

    knowledge.save()

    assert indexed(storage) == MANY


def test_a_session_that_is_killed_has_left_an_index_on_its_way(
    storage: LocalStorage, tmp_path: Path
) -> None:
    now = 1000.0
    knowledge = Knowledge(storage, durable=False, clock=lambda: now)

    finish(knowledge, storage, range(2 * MANY), tmp_path)
    at_first = indexed(storage)
    now += 31
    finish(knowledge, storage, range(2 * MANY, 2 * MANY + 1), tmp_path)

    assert (at_first, indexed(storage)) == (0, 2 * MANY + 1)


def test_an_index_of_records_that_are_gone_is_mended_before_their_names_are_taken_again(
    knowledge: Knowledge, storage: LocalStorage, tmp_path: Path
) -> None:
    finish(knowledge, storage, range(MANY), tmp_path)
    knowledge.save()
    for name in list(storage.list("e1/records"))[:50]:
        storage.delete(name)

    Knowledge(storage, durable=False).ledger("e1")

    assert indexed(storage) == MANY - 50
