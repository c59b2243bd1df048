"""A storage that is a folder."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import pytest

from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.storage.local import LocalStorage


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../../b", ".", "a\0b"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    storage = LocalStorage(tmp_path / "s")

    with pytest.raises(StorageError, match="is not a name below the storage folder"):
        storage.write(name, b"x")

    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_is_only_read_makes_no_folder(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "s")

    storage.exists("a")
    list(storage.list("e1/records"))

    assert list(tmp_path.iterdir()) == []


def test_files_on_their_way_are_not_listed(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("a/b", b"x")
    (tmp_path / "a" / ".writing-77-c").write_bytes(b"half")

    assert list(storage.list("a")) == ["a/b"]


@pytest.mark.parametrize("write", ["write", "write_if_absent"])
def test_a_place_that_cannot_be_written_is_told_with_advice(tmp_path: Path, write: str) -> None:
    (tmp_path / "file").write_text("in the way")
    storage = LocalStorage(tmp_path / "file" / "s")

    with pytest.raises(StorageError) as refusal:
        getattr(storage, write)("a/b", b"x")

    assert str(refusal.value) == (
        f"{tmp_path}/file/s/a/b could not be written: Not a directory. "
        "Make room or choose another folder with --storage."
    )


def test_a_name_that_is_a_folder_is_told_as_well(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("a/b", b"x")

    with pytest.raises(StorageError, match="a could not be written: Is a directory"):
        storage.write("a", b"x")

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("write", ["write", "write_if_absent"])
def test_a_disk_that_is_full_leaves_what_was_there_and_no_rest(
    tmp_path: Path, write: str, durable: bool
) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("a", b"before")
    name = "a" if write == "write" else "b"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))

    try:
        with pytest.raises(StorageError, match="could not be written: File too large"):
            getattr(storage, write)(name, b"x" * 100, durable=durable)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)

    assert storage.read("a") == b"before"
    assert os.listdir(tmp_path) == ["a"]


def test_a_drive_without_links_serves_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*names: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    storage = LocalStorage(tmp_path)

    first = storage.write_if_absent("a", b"first")
    second = storage.write_if_absent("a", b"second")

    assert (first, second) == (True, False)
    assert storage.read("a") == b"first"
    assert os.listdir(tmp_path) == ["a"]
