"""What is known of each run, and who may make its next attempt."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from pytest_gpuexp import recording
from pytest_gpuexp.claims import Owner, code_of
from pytest_gpuexp.errors import RecordInvalid
from pytest_gpuexp.ledger import Ledger
from pytest_gpuexp.records import Attempt, Status
from pytest_gpuexp.storage.local import LocalStorage
from tests.rooms.attempts import a_result, a_spec


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "s")


def claim(ledger: Ledger) -> Attempt:
    while True:
        attempt = ledger.claim(
            a_spec(),
            backend="local",
            handle="7:9",
            submitted_at="2026-10-01T00:00:00Z",
            stub=False,
            owner=Owner(session="s1", machine="m1", process="5:6"),
            fingerprint={"exp_e1.py": "1"},
        )
        if attempt is not None:
            return attempt


def test_attempts_are_numbered_on_over_sessions(storage: LocalStorage) -> None:
    first = claim(Ledger(storage, "e1"))
    second = claim(Ledger(storage, "e1"))

    assert (first.number, second.number) == (1, 2)
    assert second.key == "exp_fit-0123456789abcdef.2"


def test_a_claim_is_on_disk_at_once(storage: LocalStorage) -> None:
    attempt = claim(Ledger(storage, "e1"))

    assert storage.read(f"e1/jobs/{attempt.key}.yaml").decode() == (
        "run_id: exp_fit-0123456789abcdef\nattempt: 1\n"
        'name: "exp_fit[model.lr:0.1-seed:3]"\nbackend: "local"\n'
        'submitted_at: "2026-10-01T00:00:00Z"\nsession: "s1"\nmachine: "m1"\nprocess: "5:6"\n'
        f'code: "{code_of({"exp_e1.py": "1"})}"\nhandle: "7:9"\n'
    )


def test_a_number_that_another_took_meanwhile_is_told_with_its_claim(storage: LocalStorage) -> None:
    ledger = Ledger(storage, "e1")
    mine = claim(Ledger(storage, "e1"))

    late = ledger.claim(a_spec(), backend="b", handle="", submitted_at="", stub=False)
    rival = ledger.newest_claim(a_spec().run_id)
    then = ledger.claim(a_spec(), backend="b", handle="", submitted_at="", stub=False)

    assert late is None
    assert rival is not None
    assert (rival.session, rival.key) == ("s1", mine.key)
    assert then is not None
    assert then.number == 2


def test_a_claim_that_was_torn_or_taken_back_is_none(storage: LocalStorage) -> None:
    storage.write("e1/jobs/torn.1.yaml", b"run_id: to")
    storage.write("e1/jobs/odd.1.yaml", b"[1]\n")
    storage.write("e1/jobs/gone.1.yaml", b"attempt: 1\n")
    ledger = Ledger(storage, "e1")
    storage.delete("e1/jobs/gone.1.yaml")

    assert [ledger.newest_claim(one) for one in ("torn", "odd", "gone", "never")] == [None] * 4


def test_sessions_that_claim_at_the_same_time_get_different_numbers(storage: LocalStorage) -> None:
    ledgers = [Ledger(storage, "e1") for _ in range(8)]
    numbers: list[int] = []

    threads = [
        threading.Thread(target=lambda one=one: numbers.append(claim(one).number))
        for one in ledgers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(numbers) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_claim_taken_back_is_free_again(storage: LocalStorage) -> None:
    ledger = Ledger(storage, "e1")

    ledger.withdraw(claim(ledger))

    assert claim(Ledger(storage, "e1")).number == 1


def test_a_handle_that_comes_later_takes_the_place_of_the_first(storage: LocalStorage) -> None:
    ledger = Ledger(storage, "e1")
    attempt = claim(ledger)

    ledger.submitted(attempt, "token")
    ledger.submitted(attempt, "token:fc-1")

    run_id = attempt.spec.run_id
    assert Ledger(storage, "e1").intents([run_id])[run_id].handle == "token:fc-1"


def test_the_newest_record_speaks_for_a_run(storage: LocalStorage, tmp_path: Path) -> None:
    for number in (9, 10):
        result = a_result(tmp_path, error_message=f"number {number}")
        name = f"e1/records/{result.run_id}.{number}.yaml"
        recording.commit(storage, result, b"")
        storage.write(name, storage.read(recording.record_name(result)))

    ledger = Ledger(storage, "e1")
    stored = ledger.stored(["exp_fit-0123456789abcdef", "exp_unknown-0"])

    assert list(stored) == ["exp_fit-0123456789abcdef"]
    assert claim(ledger).number == 11


def test_a_record_that_cannot_be_read_is_named(storage: LocalStorage) -> None:
    storage.write("e1/records/exp_fit-0123456789abcdef.1.yaml", b"version: 1\nmetr")

    with pytest.raises(RecordInvalid, match=r"e1/records/exp_fit-0123456789abcdef\.1\.yaml"):
        Ledger(storage, "e1").stored(["exp_fit-0123456789abcdef"])


def test_foreign_files_are_passed_over(storage: LocalStorage) -> None:
    for name in ("notes.txt", ".DS_Store", "exp_fit.yaml", "exp_fit-1.x.yaml"):
        storage.write(f"e1/records/{name}", b"")

    assert claim(Ledger(storage, "e1")).number == 1


def test_an_attempt_that_was_broken_off_does_not_outrank_a_finished_one(
    storage: LocalStorage, tmp_path: Path
) -> None:
    finished = a_result(tmp_path)
    for number, status in ((1, "completed"), (2, "cancelled"), (3, "lost")):
        result = replace(finished, attempt=number, status=cast(Status, status))
        recording.commit(storage, result, b"")

    stored = Ledger(storage, "e1").stored([finished.run_id])

    assert stored[finished.run_id].attempt == 1


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([], []),
        (["failed"], [1]),
        (["preempted", None, "oom"], [3, 2, 1]),
        (["completed"], []),
        (["failed", "completed", "timeout", None], [4, 3]),
        (["failed", "torn", "lost"], [3]),
    ],
)
def test_a_run_is_gone_on_from_its_attempts_since_the_last_completed_one(
    storage: LocalStorage, tmp_path: Path, ends: list[str | None], expected: list[int]
) -> None:
    for number, status in enumerate(ends, 1):
        attempt = claim(Ledger(storage, "e1"))
        name = f"e1/records/{attempt.key}.yaml"
        if status == "torn":
            storage.write(name, b"version: 1\nstat")
        elif status is not None:
            result = replace(a_result(tmp_path), status=cast(Status, status), attempt=number)
            recording.commit(storage, result, b"")

    assert Ledger(storage, "e1").interrupted(a_spec().run_id) == expected
