"""Sessions whose results go to a real S3 server are killed, and records are damaged there."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from pytest_gpuexp import documents
from tests.behaviour import sessions
from tests.faults.proxy import faulty
from tests.servers import BUCKET, Server

RUNS, KILLS = 12, 5
SWEEP = """
    import os, time
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("swept")

    @seeds(RUNS)
    def exp_swept(runner, seed):
        with open("ran.txt", "a") as file:
            file.write(f"{seed}\\n")
        runner.log_metrics({"x": seed})
        runner.results.save_artifact("a.bin", bytes([seed]) * 5000)
        time.sleep(0.1)
        assert seed >= 0
"""


def swept(folder: Path, runs: int) -> Path:
    return sessions.write(folder, exp_swept=SWEEP.replace("RUNS", str(runs)))


def ran(folder: Path) -> Counter[str]:
    file = folder / "ran.txt"
    return Counter(file.read_text().split() if file.exists() else [])


@pytest.mark.timeout(200)
def test_a_controller_killed_again_and_again_publishes_each_run_once(
    tmp_path: Path, seaweed: Server
) -> None:
    folder, changes = swept(tmp_path, RUNS), seaweed.environ()
    words = [f"--storage=s3://{BUCKET}/{tmp_path.name}", "--resume", "--parallelism=3"]
    seed = random.randrange(10**6)
    print(f"moments are drawn by random.Random({seed})")
    moments = random.Random(seed)

    for goal in sorted(moments.sample(range(1, RUNS), KILLS)):
        with sessions.started(folder, *words, changes=changes) as process:
            while process.poll() is None and ran(folder).total() < goal:
                time.sleep(0.005)
            time.sleep(moments.random() * 0.3)
            process.kill()
    last = sessions.run(folder, *words, changes=changes)

    assert last.code == 0, last.text
    assert ran(folder) == {str(number): 1 for number in range(RUNS)}
    assert f"{RUNS} passed" in last.text
    keys = seaweed.keys(f"{tmp_path.name}/swept/records/")
    results = [documents.read_record(seaweed.get(key)) for key in keys]
    assert sorted(result.seed for result in results) == list(range(RUNS))
    assert {result.status for result in results} == {"completed"}
    assert len(seaweed.keys(f"{tmp_path.name}/artifacts-by-sha256/")) == RUNS
    assert not list(folder.glob(".gpuexp/spool/**/records/*.yaml"))


def test_damaged_records_in_a_bucket_cost_their_own_runs_alone_and_are_named(
    tmp_path: Path, moto: Server
) -> None:
    folder, changes = swept(tmp_path, 4), moto.environ()
    storage = f"--storage=s3://{BUCKET}/{tmp_path.name}"
    sessions.run(folder, storage, changes=changes)
    client, damaged = moto.client(), {}
    keys = moto.keys(f"{tmp_path.name}/swept/records/")
    whole = [moto.get(key) for key in keys[:3]]
    for key, data in zip(
        keys, (whole[0][:200], b"{not: [yaml", whole[2].replace(b"n: 1", b"n: 0")), strict=False
    ):
        client.put_object(Bucket=BUCKET, Key=key, Body=data)  # by another hand: no sha256 is kept
        damaged[key] = data
    client.delete_object(Bucket=BUCKET, Key=f"{tmp_path.name}/swept/index.jsonl")
    client.close()

    again = sessions.run(folder, storage, "--resume", changes=changes)
    third = sessions.run(folder, storage, "--resume", "--dry-run", changes=changes)

    assert "1 of 4 runs kept, 3 to run" in again.text, again.text
    assert again.code == 0, again.text
    for key, data in damaged.items():
        assert f"1 unreadable record: {key.removeprefix(tmp_path.name + '/')}\n" in again.text
        assert moto.get(key) == data
    assert ran(folder).total() == 7
    assert "4 of 4 runs kept" in third.text


def test_a_record_whose_bytes_have_changed_in_the_bucket_is_named_and_its_run_repeated(
    tmp_path: Path, moto: Server
) -> None:
    """The sha256 that it was sent with is still there, so nobody has to know what a record is."""
    folder, changes = swept(tmp_path, 3), moto.environ()
    storage = f"--storage=s3://{BUCKET}/{tmp_path.name}"
    sessions.run(folder, storage, changes=changes)
    (key, *_), client = moto.keys(f"{tmp_path.name}/swept/records/"), moto.client()
    metadata = client.head_object(Bucket=BUCKET, Key=key)["Metadata"]
    changed = moto.get(key).replace(b"completed", b"compleXed")
    client.put_object(Bucket=BUCKET, Key=key, Body=changed, Metadata=metadata)
    client.delete_object(Bucket=BUCKET, Key=f"{tmp_path.name}/swept/index.jsonl")
    client.close()

    again = sessions.run(folder, storage, "--resume", changes=changes)

    assert "2 of 3 runs kept, 1 to run" in again.text, again.text
    assert f"1 unreadable record: {key.removeprefix(tmp_path.name + '/')}\n" in again.text
    assert again.code == 0


def test_a_claim_whose_sender_was_killed_on_the_way_is_nobody_s(
    tmp_path: Path, moto: Server
) -> None:
    """Some servers keep an object whose bytes have not all come, with the sha256 of them all."""
    folder, changes = swept(tmp_path, 3), moto.environ()
    storage = f"--storage=s3://{BUCKET}/{tmp_path.name}"
    sessions.run(folder, storage, changes=changes)
    (record, *_), client = moto.keys(f"{tmp_path.name}/swept/records/"), moto.client()
    claim = record.replace("/records/", "/jobs/")
    metadata = {"gpuexp-sha256": "0" * 64}
    assert client.head_object(Bucket=BUCKET, Key=claim)["Metadata"].keys() >= metadata.keys()
    client.put_object(Bucket=BUCKET, Key=claim, Body=b"", Metadata=metadata)
    for gone in (record, f"{tmp_path.name}/swept/index.jsonl"):
        client.delete_object(Bucket=BUCKET, Key=gone)
    client.close()

    again = sessions.run(folder, storage, "--resume", changes=changes)

    assert again.code == 0, again.text
    assert "2 of 3 runs kept, 1 to run" in again.text
    assert ran(folder).total() == 4


def test_a_bucket_that_goes_away_before_the_plan_is_told_as_such(
    tmp_path: Path, moto: Server
) -> None:
    folder = swept(tmp_path, 2)

    with faulty(moto.endpoint) as proxy:
        proxy.leaves_at = lambda request: "list-type" in request and "records" in request
        changes = moto.environ(ENDPOINT=proxy.endpoint, PATIENCE="1")
        ended = sessions.run(
            folder, f"--storage=s3://{BUCKET}/{tmp_path.name}", "--resume", changes=changes
        )

    assert ended.code == 4, ended.text
    assert "cannot be reached" in ended.text
    assert "INTERNALERROR" not in ended.text
    assert not ran(folder)


def test_runs_go_on_while_those_before_them_are_published(tmp_path: Path, moto: Server) -> None:
    folder = swept(tmp_path, 4)

    with faulty(moto.endpoint) as proxy:
        proxy.hangs_at, proxy.hang_seconds = (
            (lambda request: "PUT" in request and "/rec" in request),
            1,
        )
        words = [f"--storage=s3://{BUCKET}/{tmp_path.name}", "--parallelism=1"]
        with sessions.started(folder, *words, changes=moto.environ(ENDPOINT=proxy.endpoint)) as one:
            sessions.until(lambda: ran(folder).total() == 4)
            published = moto.keys(f"{tmp_path.name}/swept/records/")
            proxy.hangs_at = lambda request: False
            ended = sessions.ending(one, folder)

    assert published == []
    assert ended.code == 0, ended.text
    assert len(moto.keys(f"{tmp_path.name}/swept/records/")) == 4
