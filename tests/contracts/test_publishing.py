"""What a publisher makes of a bucket that has damaged what it was sent."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from pytest_gpuexp import documents, recording
from pytest_gpuexp.artifacts import ResultsWriter
from pytest_gpuexp.publishing import ARTIFACTS, Publisher
from pytest_gpuexp.storage.local import LocalStorage
from pytest_gpuexp.storage.tigris import TigrisStorage
from tests.rooms.attempts import a_result, an_attempt
from tests.servers import BUCKET
from tests.strict_s3 import strict

ATTEMPT = an_attempt()


def end_an_attempt(spool: LocalStorage, data: bytes) -> tuple[str, str]:
    """Leave an attempt with one artifact in ``spool``; return the names of record and artifact."""
    writer = ResultsWriter(spool.path(recording.run_folder(ATTEMPT)))
    writer.save_artifact("a.bin", data)
    (artifact,) = writer.saved()
    result = dataclasses.replace(a_result(spool.folder, ATTEMPT), artifacts=[artifact])
    record = recording.record_name(result)
    spool.write(record, documents.dump_record(result))
    return record, f"{ARTIFACTS}/{artifact.sha256}"


@pytest.mark.parametrize("size", [6, 2 << 20, 9 << 20], ids=["small", "large", "in parts"])
@pytest.mark.parametrize("change", ["other", "cut", "none"])
def test_an_artifact_that_the_bucket_has_damaged_is_sent_again(
    tmp_path: Path, size: int, change: str
) -> None:
    spool, data = LocalStorage(tmp_path), os.urandom(size)
    record, name = end_an_attempt(spool, data)
    with strict(busy_every=10**9, conflicts_every=10**9) as server:
        storage = TigrisStorage(BUCKET, environ=server.environ())
        storage.write(name, data)
        before = server.bucket.objects[name]
        damaged = {"other": b"x" * size, "cut": data[:-1], "none": data}[change]
        server.bucket.objects[name] = kept = dataclasses.replace(before, data=damaged)

        Publisher(spool, storage).publish(record)

        assert server.bucket.objects[name].data == data
        assert (server.bucket.objects[name] is kept) == (change == "none")
        assert record in server.bucket.objects
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_record_whose_sender_was_killed_on_the_way_is_sent_again(tmp_path: Path) -> None:
    spool = LocalStorage(tmp_path)
    record, _ = end_an_attempt(spool, b"abc")
    data = spool.read(record)
    with strict(busy_every=10**9, conflicts_every=10**9) as server:
        storage = TigrisStorage(BUCKET, environ=server.environ())
        storage.write(record, data)
        half = dataclasses.replace(server.bucket.objects[record], data=b"")
        server.bucket.objects[record] = half

        Publisher(spool, storage).publish(record)

        assert storage.read(record) == data
    assert not spool.exists(record)


@pytest.mark.parametrize(("size", "asked"), [(6, 2), (2 << 20, 3)], ids=["small", "large"])
def test_an_artifact_whose_name_is_free_costs_no_request_more(
    tmp_path: Path, size: int, asked: int
) -> None:
    spool = LocalStorage(tmp_path)
    record, _ = end_an_attempt(spool, os.urandom(size))
    with strict(opaque=False, busy_every=10**9, conflicts_every=10**9) as server:
        Publisher(spool, TigrisStorage(BUCKET, environ=server.environ())).publish(record)

        assert server.asked == asked
