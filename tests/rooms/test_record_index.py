"""The index gives back what the records say, and is never missed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp import documents, recording
from pytest_gpuexp.errors import RecordInvalid, StorageError
from pytest_gpuexp.record_index import RecordIndex, index_name
from pytest_gpuexp.records import Artifact, Assertion, ExperimentResult
from pytest_gpuexp.storage.local import LocalStorage
from tests.rooms.attempts import a_result

FULL: dict[str, Any] = {
    "status": "completed",
    "verdict": "fail",
    "metrics": {"loss": float("inf"), "accuracy": 0.5},
    "non_finite": ("loss",),
    "finding": "gefunden: ∅\nzwei",
    "assertions": (Assertion(line=1, source="a", met=False, count=1, first="b", last="c"),),
    "artifacts": (Artifact(name="a.png", sha256="0", bytes=1),),
    "fingerprint": {"exp_e1.py": "1"},
}


class Counting(LocalStorage):
    """A folder that counts how many records are read, and may refuse to be written to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reads: list[str] = []
        self.refuses = False

    def read(self, name: str) -> bytes:
        if "/records/" in name:
            self.reads.append(name)
        return super().read(name)

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        if self.refuses:
            raise StorageError("full")
        super().write(name, data, durable=durable)


@pytest.fixture
def storage(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "results")


def stored(storage: Counting, folder: Path, **changes: Any) -> tuple[str, ExperimentResult]:
    result = dataclasses.replace(a_result(folder), **changes)
    recording.commit(storage, result, b"provenance:\n  host: h\n")
    return recording.record_name(result), result


def names(storage: Counting) -> Iterator[str]:
    return storage.list("e1/records")


def test_a_record_is_read_once_and_comes_back_whole(storage: Counting, tmp_path: Path) -> None:
    name, result = stored(storage, tmp_path, **FULL)
    first = RecordIndex(storage, "e1", list(names(storage)))
    assert first.read(name).provenance == {"host": "h"}
    first.save()

    again = RecordIndex(storage, "e1", list(names(storage)))

    assert again.read(name) == result
    assert again.glance(name).fingerprint == {"exp_e1.py": "1"}
    assert storage.reads == [name]


def test_what_is_known_need_not_be_read_at_all(storage: Counting, tmp_path: Path) -> None:
    name, result = stored(storage, tmp_path, attempt=2)
    index = RecordIndex(storage, "e1", [])
    index.add(name, result)
    index.save()

    again = RecordIndex(storage, "e1", [name])

    assert again.glance(name).status == "failed"
    assert again.read(name) == result
    assert storage.reads == []


def test_a_glance_leaves_the_rest_of_a_record_for_later(storage: Counting, tmp_path: Path) -> None:
    name, result = stored(storage, tmp_path, fingerprint={"exp_e1.py": "0" * 16})
    first = RecordIndex(storage, "e1", [name])
    first.glance(name)
    first.save()

    second = RecordIndex(storage, "e1", [name])
    glance, read = second.glance(name), second.read(name)
    second.save()

    assert glance.fingerprint == {"exp_e1.py": "0" * 16}
    assert dataclasses.replace(read, provenance={}) == result
    assert RecordIndex(storage, "e1", [name]).read(name) == result
    assert storage.reads == [name, name]


def test_a_record_that_is_gone_leaves_the_index(storage: Counting, tmp_path: Path) -> None:
    name, _ = stored(storage, tmp_path)
    index = RecordIndex(storage, "e1", [name])
    index.glance(name)
    index.save()
    storage.delete(name)

    RecordIndex(storage, "e1", []).save()

    assert name not in storage.read(index_name("e1")).decode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1],
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]\n",
        lambda text: text.replace('"head":[1,', '"head":[0,'),
        lambda text: text.partition("\n")[0] + "\n{broken\n",
        lambda text: text.partition("\n")[0] + "\n[1]\n",
        lambda text: text.partition("\n")[0] + "\n",
        lambda text: text.replace('"numbers":[0', '"numbers":[7'),
    ],
    ids=["end", "half", "empty", "list", "version", "line", "row", "lines", "number"],
)
def test_a_damaged_index_is_as_good_as_none(storage: Counting, tmp_path: Path, damage: Any) -> None:
    name, result = stored(storage, tmp_path, **FULL)
    index = RecordIndex(storage, "e1", [name])
    index.read(name)
    index.save()
    text = storage.read(index_name("e1")).decode()
    storage.write(index_name("e1"), damage(text).encode())

    again = RecordIndex(storage, "e1", [name])
    read = documents.read_record(documents.dump_record(again.read(name)))
    again.save()

    assert read.finding == result.finding
    assert storage.reads == [name, name]
    assert storage.read(index_name("e1")).decode() == text


def test_a_damaged_record_is_told_and_not_remembered(storage: Counting, tmp_path: Path) -> None:
    name, _ = stored(storage, tmp_path)
    whole = storage.read(name)
    storage.write(name, b"version: 1\n")
    index = RecordIndex(storage, "e1", [name])

    with pytest.raises(RecordInvalid, match=name):
        index.glance(name)
    index.save()
    storage.write(name, whole)

    assert not storage.exists(index_name("e1"))
    assert RecordIndex(storage, "e1", [name]).glance(name).status == "failed"


def test_a_storage_that_refuses_the_index_costs_time_alone(
    storage: Counting, tmp_path: Path
) -> None:
    name, _ = stored(storage, tmp_path)
    index = RecordIndex(storage, "e1", [name])
    index.glance(name)
    storage.refuses = True

    index.save()

    assert not storage.exists(index_name("e1"))
