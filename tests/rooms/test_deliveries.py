"""The files of an attempt between two machines."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from pytest_gpuexp import deliveries
from pytest_gpuexp.errors import RecordInvalid, StorageError


def a_folder(folder: Path) -> Path:
    (folder / "artifacts").mkdir(parents=True)
    (folder / "log.txt").write_text("hello")
    (folder / "artifacts/größe.bin").write_bytes(bytes(range(256)) * 8)
    (folder / ".writing-x").write_text("on its way")
    (folder / "link").symlink_to("/etc/passwd")
    return folder


def never(name: str, path: Path) -> None:
    raise AssertionError(f"{name} was to be fetched")


def test_what_is_packed_arrives_the_smallest_files_inline(tmp_path: Path) -> None:
    sent = a_folder(tmp_path / "sent")

    parcels, large = deliveries.pack(sent, inline_bytes=100)
    wire = json.loads(json.dumps(deliveries.to_plain(parcels)))
    deliveries.unpack(
        deliveries.from_plain(wire),
        tmp_path / "come",
        fetch=lambda name, path: path.write_bytes((sent / name).read_bytes()),
    )

    assert large == ["artifacts/größe.bin"]
    assert (tmp_path / "come/log.txt").read_text() == "hello"
    assert (tmp_path / "come/artifacts/größe.bin").read_bytes() == bytes(range(256)) * 8
    assert sorted(path.name for path in (tmp_path / "come").iterdir()) == ["artifacts", "log.txt"]


def test_an_attempt_that_left_nothing_sends_nothing(tmp_path: Path) -> None:
    assert deliveries.pack(tmp_path / "absent") == ([], [])


def test_a_file_that_was_cut_off_on_its_way_is_refused(tmp_path: Path) -> None:
    parcels, _ = deliveries.pack(a_folder(tmp_path / "sent"), inline_bytes=0)

    with pytest.raises(StorageError, match="changed or cut off"):
        deliveries.unpack(
            parcels, tmp_path / "come", fetch=lambda name, path: path.write_bytes(b"h")
        )

    assert not [path for path in (tmp_path / "come").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", ""])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    (parcel, *_), _ = deliveries.pack(a_folder(tmp_path / "sent"))

    with pytest.raises(StorageError, match="refused"):
        deliveries.unpack([dataclasses.replace(parcel, name=name)], tmp_path / "come", fetch=never)


@pytest.mark.parametrize("data", [{"name": "a"}, {"name": 3, "sha256": "", "data": None}])
def test_what_describes_no_file_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(RecordInvalid, match="not described as files"):
        deliveries.from_plain([data])
