"""Checkpoints go to a storage and come back, whole, and a slow one gets fewer of them."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_gpuexp.checkpoint_transfers import CheckpointTransfers, Uploads
from pytest_gpuexp.checkpoints import Checkpoint, Checkpoints, Name
from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.records import Attempt
from pytest_gpuexp.storage.local import LocalStorage
from tests.rooms.attempts import an_attempt

FOLDER = "e1/runs/exp_fit-0123456789abcdef/checkpoint"


class Bucket(LocalStorage):
    """A storage that refuses names that contain ``refused``, and takes nothing while shut."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.refused = "nothing"
        self.open = threading.Event()
        self.open.set()
        self.sent: list[str] = []

    def upload_file(self, path: Path, name: str) -> None:
        self._take(name)
        super().upload_file(path, name)

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._take(name)
        super().write(name, data, durable=durable)

    def whole(self) -> list[str]:
        """Return the steps of the whole checkpoints here."""
        found = self.folder.glob(f"{FOLDER}/*/manifest.json")
        return sorted(path.parent.name.rpartition("step-")[2] for path in found)

    def _take(self, name: str) -> None:
        self.sent.append(name)
        assert self.open.wait(60)
        if self.refused in name:
            raise StorageError(f"{name} is refused")


class Machine:
    """A spool with what an attempt saves into it."""

    def __init__(
        self, folder: Path, bucket: Bucket, *, attempt: int = 1, **changes: object
    ) -> None:
        self.spool = LocalStorage(folder)
        self.attempt: Attempt = dataclasses.replace(an_attempt(attempt), **changes)  # type: ignore[arg-type]
        self.transfers = CheckpointTransfers(self.spool, bucket)

    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.attempt, self.spool.path(FOLDER), tell=dict)

    def save(self, step: int) -> Name:
        mine = self.checkpoints()
        mine.save({"at": step}, step=step, keep=2)
        number = int((mine.saved or "").partition(".")[0])
        return Name(number=number, attempt=self.attempt.number, step=step)

    def restore(self) -> Checkpoint | None:
        return self.checkpoints().restore()


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path / "bucket")


def test_what_one_machine_saved_another_restores(tmp_path: Path, bucket: Bucket) -> None:
    here = Machine(tmp_path / "here", bucket)
    for step in (1, 2, 3):
        here.transfers.publish(FOLDER, here.save(step))
    there = Machine(tmp_path / "there", bucket, attempt=2, restores=[1])

    there.transfers.fetch(there.attempt)

    found = there.restore()
    assert found is not None
    assert (found.step, found.state) == (3, {"at": 3})
    assert bucket.whole() == ["2", "3"]


def test_the_manifest_goes_last_and_without_it_there_is_nothing(
    tmp_path: Path, bucket: Bucket
) -> None:
    here = Machine(tmp_path / "here", bucket)
    here.transfers.publish(FOLDER, here.save(1))
    bucket.refused = "step-2/manifest.json"

    with pytest.raises(StorageError):
        here.transfers.publish(FOLDER, here.save(2))

    there = Machine(tmp_path / "there", bucket, attempt=2, restores=[1])
    there.transfers.fetch(there.attempt)
    found = there.restore()
    assert found is not None
    assert found.step == 1
    bucket.refused = "nothing"
    here.transfers.publish(FOLDER, here.save(3))
    left = sorted(path.name for path in bucket.path(FOLDER).rglob("*") if path.is_file())
    assert left == ["manifest.json", "manifest.json", "state.json", "state.json"]


def test_bytes_that_were_changed_are_not_restored(tmp_path: Path, bucket: Bucket) -> None:
    here = Machine(tmp_path / "here", bucket)
    for step in (1, 2):
        here.transfers.publish(FOLDER, here.save(step))
    next(bucket.path(FOLDER).glob("*.step-2/content/state.json")).write_text('{"dict": []}')
    there = Machine(tmp_path / "there", bucket, attempt=2, restores=[1])

    there.transfers.fetch(there.attempt)

    found = there.restore()
    assert found is not None
    assert found.step == 1


def test_only_attempts_that_may_be_gone_on_from_are_fetched(tmp_path: Path, bucket: Bucket) -> None:
    here = Machine(tmp_path / "here", bucket)
    here.transfers.publish(FOLDER, here.save(1))
    there = Machine(tmp_path / "there", bucket, attempt=3, restores=[2])

    there.transfers.fetch(there.attempt)

    assert not there.spool.path(FOLDER).exists()


def test_what_the_run_has_removed_meanwhile_is_superseded(tmp_path: Path, bucket: Bucket) -> None:
    here = Machine(tmp_path / "here", bucket)
    old = here.save(1)
    for step in (2, 3):
        here.save(step)

    here.transfers.publish(FOLDER, old)

    assert bucket.whole() == []


def test_a_slow_storage_gets_fewer_and_holds_nobody_up(tmp_path: Path, bucket: Bucket) -> None:
    here = Machine(tmp_path / "here", bucket)
    told: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        uploads = Uploads(here.transfers, pool, tell=told.append)
        bucket.open.clear()

        for step in range(50):
            uploads.offer(here.attempt, str(here.save(step)))
        bucket.open.set()

    assert bucket.whole()[-1] == "49"
    assert len([name for name in bucket.sent if name.endswith("manifest.json")]) <= 3
    assert told == []


def test_a_storage_that_refuses_is_told_once(tmp_path: Path, bucket: Bucket) -> None:
    here = Machine(tmp_path / "here", bucket)
    told: list[str] = []
    bucket.refused = "checkpoint"

    with ThreadPoolExecutor(1) as pool:
        uploads = Uploads(here.transfers, pool, tell=told.append)
        for step in range(3):
            uploads.offer(here.attempt, str(here.save(step)))

    [text] = told
    assert text.startswith("a checkpoint did not reach the storage, and stays here: ")
