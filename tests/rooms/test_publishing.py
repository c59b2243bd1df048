from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from pytest_gpuexp import documents
from pytest_gpuexp.artifacts import ResultsWriter
from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.publishing import ARTIFACTS, Publisher, open_spool, publish_leftovers
from pytest_gpuexp.records import ExperimentResult
from pytest_gpuexp.storage.local import LocalStorage

RECORD = "e/records/r-1.1.yaml"
RESULT = ExperimentResult(
    experiment_id="e",
    run_id="r-1",
    attempt=1,
    handler="exp_a",
    name="exp_a",
    path="exp_a.py",
    status="completed",
    verdict="pass",
    config={},
    parameters={},
    seed=0,
)


class Bucket(LocalStorage):
    """A storage that counts what it is sent, and refuses names that contain ``refused``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.sent: list[str] = []
        self.refused = "nothing"

    def upload_file(self, path: Path, name: str) -> None:
        self._take(name)
        super().upload_file(path, name)

    def write_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        self._take(name)
        return super().write_if_absent(name, data, durable=durable)

    def _take(self, name: str) -> None:
        if self.refused in name:
            raise StorageError(f"{name} is refused")
        self.sent.append(name)


@pytest.fixture
def spool(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "spool")


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path / "bucket")


def end_an_attempt(spool: LocalStorage, number: int = 1) -> str:
    """Leave in ``spool`` what a worker leaves; return the record's name."""
    folder = spool.path(f"e/runs/r-{number}/1")
    writer = ResultsWriter(folder)
    writer.save_artifact("a.bin", b"the same")
    writer.save_artifact("deep/b.bin", b"the same")
    writer.save_artifact("own.txt", f"of {number}")
    (folder / "log.txt").write_text("said")
    (folder / "metrics.jsonl").write_text("{}")
    result = dataclasses.replace(RESULT, run_id=f"r-{number}", artifacts=writer.saved())
    name = f"e/records/r-{number}.1.yaml"
    spool.write_if_absent(name, documents.dump_record(result))
    return name


def left_in(spool: LocalStorage) -> list[Path]:
    return [path for path in spool.folder.rglob("*") if path.is_file()]


def test_the_record_goes_last_and_the_same_bytes_go_once(
    spool: LocalStorage, bucket: Bucket
) -> None:
    publisher = Publisher(spool, bucket)
    for number in (1, 2):
        publisher.publish(end_an_attempt(spool, number))

    counted = Counter(name.partition("/")[0] for name in bucket.sent)
    assert bucket.sent[0] == "e/runs/r-1/1/log.txt"
    assert bucket.sent[-1] == "e/records/r-2.1.yaml"
    assert counted[ARTIFACTS] == 3
    assert left_in(spool) == []


@pytest.mark.parametrize("refused", ["log.txt", "metrics", ARTIFACTS, "records"])
def test_what_is_refused_stays_whole_and_is_published_later(
    spool: LocalStorage, bucket: Bucket, refused: str
) -> None:
    name, publisher = end_an_attempt(spool), Publisher(spool, bucket)
    before = sorted(left_in(spool))
    bucket.refused = refused

    with pytest.raises(StorageError, match="is refused"):
        publisher.publish(name)

    assert sorted(left_in(spool)) == before
    assert not bucket.exists(name)
    bucket.refused = "nothing"
    assert publish_leftovers(Publisher(spool, bucket)) == [
        "1 run of an earlier session is published"
    ]
    assert bucket.exists(name)
    assert left_in(spool) == []


def test_what_another_session_has_published_meanwhile_is_no_trouble(
    spool: LocalStorage, bucket: Bucket, tmp_path: Path
) -> None:
    name = end_an_attempt(spool)
    record = spool.read(name)
    Publisher(spool, bucket).publish(name)

    Publisher(spool, bucket).publish(name)  # its files and its record are gone

    spool.write(name, record)
    Publisher(spool, bucket).publish(name)  # a kill came right before the record was removed
    assert left_in(spool) == []


def test_an_artifact_that_changed_after_its_run_is_not_published(
    spool: LocalStorage, bucket: Bucket
) -> None:
    name = end_an_attempt(spool)
    spool.path("e/runs/r-1/1/artifacts/own.txt").write_text("tampered")

    with pytest.raises(StorageError, match="has changed since its run ended"):
        Publisher(spool, bucket).publish(name)

    assert not bucket.exists(name)


def test_a_record_that_differs_from_the_one_in_the_bucket_is_kept_and_told(
    spool: LocalStorage, bucket: Bucket
) -> None:
    name = end_an_attempt(spool)
    bucket.write(name, b"another")

    told = publish_leftovers(Publisher(spool, bucket))

    assert len(told) == 1
    assert "1 of an earlier session cannot be published" in told[0]
    assert "with other content" in told[0]
    assert spool.exists(name)
    assert bucket.read(name) == b"another"


def test_the_spool_of_a_bucket_is_left_alone_by_git(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, "s3://bucket/a/b")

    assert spool.folder == tmp_path / ".gpuexp/spool/bucket/a/b"
    assert (tmp_path / ".gpuexp/.gitignore").read_text() == "*\n"
