"""What every storage does, whatever lies behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.storage.local import LocalStorage

MAKERS: dict[str, Callable[[Path], Storage]] = {"local": lambda folder: LocalStorage(folder / "s")}
_NAMES = st.text(alphabet="abcü-_. 0", min_size=1, max_size=12).filter(lambda n: n.strip(". "))


@pytest.fixture(params=MAKERS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return MAKERS[request.param](tmp_path)


def test_what_is_written_is_read_back(storage: Storage) -> None:
    storage.write("e1/records/a.yaml", b"one")

    assert storage.read("e1/records/a.yaml") == b"one"
    assert storage.exists("e1/records/a.yaml")


@pytest.mark.parametrize("maker", MAKERS)
@given(name=_NAMES, data=st.binary())
def test_any_bytes_under_any_name_come_back(
    tmp_path_factory: pytest.TempPathFactory, maker: str, name: str, data: bytes
) -> None:
    storage = MAKERS[maker](tmp_path_factory.mktemp("any"))

    storage.write(f"folder/{name}", data)

    assert storage.read(f"folder/{name}") == data
    assert list(storage.list("folder")) == [f"folder/{name}"]


def test_a_second_write_replaces_the_first(storage: Storage) -> None:
    storage.write("a", b"long before")
    storage.write("a", b"now", durable=False)

    assert storage.read("a") == b"now"


def test_of_two_writes_if_absent_the_first_stands(storage: Storage) -> None:
    first = storage.write_if_absent("a/b", b"first")
    second = storage.write_if_absent("a/b", b"second", durable=False)

    assert (first, second) == (True, False)
    assert storage.read("a/b") == b"first"


def test_of_many_writers_at_once_one_is_told_that_it_wrote(storage: Storage) -> None:
    barrier, told = threading.Barrier(8), []

    def write(number: int) -> None:
        barrier.wait()
        if storage.write_if_absent("a/b", str(number).encode() * 1000):
            told.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(told) == 1
    assert storage.read("a/b") == str(told[0]).encode() * 1000
    assert list(storage.list("a")) == ["a/b"]


def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    assert not storage.exists("a")
    with pytest.raises(FileNotFoundError):
        storage.read("a")
    with pytest.raises(FileNotFoundError):
        storage.download_file("a", Path("never"))


def test_a_folder_is_listed_without_what_lies_deeper(storage: Storage) -> None:
    for name in ("e1/records/a.yaml", "e1/records/b.yaml", "e1/jobs/a.yaml"):
        storage.write(name, b"")

    assert sorted(storage.list("e1/records")) == ["e1/records/a.yaml", "e1/records/b.yaml"]
    assert sorted(storage.list("e1/records/")) == ["e1/records/a.yaml", "e1/records/b.yaml"]
    assert list(storage.list("e2")) == []


def test_what_is_deleted_is_gone_and_twice_is_no_error(storage: Storage) -> None:
    storage.write("a/b", b"x")

    storage.delete("a/b")
    storage.delete("a/b")

    assert not storage.exists("a/b")
    assert storage.write_if_absent("a/b", b"again")


def test_files_go_up_and_come_down_whole(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "up.bin").write_bytes(bytes(range(256)) * 10_000)

    storage.upload_file(tmp_path / "up.bin", "runs/a/up.bin")
    storage.download_file("runs/a/up.bin", tmp_path / "down.bin")

    assert (tmp_path / "down.bin").read_bytes() == bytes(range(256)) * 10_000
    assert storage.read("runs/a/up.bin")[:3] == b"\0\1\2"
