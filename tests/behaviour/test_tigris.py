"""Runs are kept in a bucket, and none is lost when the bucket goes away."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import servers
from tests.behaviour import sessions
from tests.faults.proxy import Proxy, faulty
from tests.servers import BUCKET, Server
from tests.strict_s3 import strict

HANDLERS = """
    from pathlib import Path
    from pytest_gpuexp import at_least, experiment, seeds

    pytestmark = experiment("kept", success_criteria={"score": at_least(0.5)})

    @seeds(3)
    def exp_score(runner, seed):
        with Path("executed.txt").open("a") as file:
            file.write(f"{seed}\\n")
        print("seed", seed)
        runner.log_metrics({"score": 1.0 + seed})
        runner.results.save_artifact("same.bin", b"the same bytes")
        runner.results.save_artifact("plots/größe.txt", f"of seed {seed}")
        assert seed >= 0
"""
WAITING = """
    import time
    from pathlib import Path
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("waiting")

    @seeds(3)
    def exp_waits(runner, seed):
        runner.results.save_artifact("a.txt", f"of seed {seed}")
        with Path("executed.txt").open("a") as file:
            file.write(f"{seed}\\n")
        while not Path("go").exists():
            time.sleep(0.01)
        assert seed >= 0
"""
SECOND = """
    def exp_other(runner):
        assert runner
"""


def records(server: Server, prefix: str, experiment: str) -> list[dict[str, Any]]:
    names = server.keys(f"{prefix}/{experiment}/records/")
    return [yaml.load(server.get(name), yaml.CSafeLoader) for name in names]


def spooled(folder: Path) -> list[Path]:
    return [
        path
        for path in (folder / ".gpuexp/spool").rglob("*")
        if path.is_file() and not path.name.startswith(".writing-")
    ]


@pytest.fixture
def proxy(moto: Server) -> Iterator[Proxy]:
    with faulty(moto.endpoint) as proxy:
        yield proxy


def test_runs_artifacts_and_reports_are_in_the_bucket(tmp_path: Path, moto: Server) -> None:
    sessions.write(tmp_path, exp_kept=HANDLERS)
    storage = f"--storage=s3://{BUCKET}/all/of it"

    ended = sessions.run(tmp_path, storage, changes=moto.environ())

    assert ended.code == 0, ended.text
    found = records(moto, "all/of it", "kept")
    assert sorted(record["seed"] for record in found) == [0, 1, 2]
    assert all(record["published"] for record in found)
    for record in found:
        for artifact in record["artifacts"]:
            data = moto.get(f"all/of it/artifacts-by-sha256/{artifact['sha256']}")
            assert hashlib.sha256(data).hexdigest() == artifact["sha256"]
        run = f"all/of it/kept/runs/{record['run_id']}/1"
        assert b"seed" in moto.get(f"{run}/log.txt")
        assert b"score" in moto.get(f"{run}/metrics.jsonl")
    assert len(moto.keys("all/of it/artifacts-by-sha256/")) == 4
    assert b"score_achieved: 2.0" in moto.get("all/of it/kept/results.yaml")
    assert f"s3://{BUCKET}/all/of it/kept/results.yaml" in ended.text
    assert spooled(tmp_path) == []
    assert (tmp_path / ".gpuexp/.gitignore").read_text() == "*\n"
    assert not (tmp_path / "results").exists()


def test_two_machines_on_one_bucket_share_no_attempt_number(tmp_path: Path, moto: Server) -> None:
    for machine in ("one", "two"):
        folder = tmp_path / machine
        folder.mkdir()
        sessions.write(folder, exp_kept=HANDLERS)
        ended = sessions.run(folder, f"--storage=s3://{BUCKET}/two", changes=moto.environ())
        assert ended.code == 0, ended.text

    found = records(moto, "two", "kept")

    assert sorted((one["seed"], one["attempt"]) for one in found) == [
        (seed, attempt) for seed in range(3) for attempt in (1, 2)
    ]


@pytest.mark.parametrize("backend", ["local", "in-process"])
def test_either_backend_of_this_machine_publishes(
    tmp_path: Path, moto: Server, backend: str
) -> None:
    sessions.write(tmp_path, exp_other=SECOND)

    ended = sessions.run(
        tmp_path,
        f"--backend={backend}",
        f"--storage=s3://{BUCKET}/{backend}",
        changes=moto.environ(),
    )

    assert ended.code == 0, ended.text
    assert len(records(moto, backend, "exp_other")) == 1
    assert spooled(tmp_path) == []


def test_runs_whose_bucket_goes_away_are_published_by_the_next_session(
    tmp_path: Path, moto: Server, proxy: Proxy
) -> None:
    sessions.write(tmp_path, exp_waiting=WAITING, exp_other=SECOND)
    storage = f"--storage=s3://{BUCKET}/away"
    changes = moto.environ(ENDPOINT=proxy.endpoint, PATIENCE="1")

    with sessions.started(tmp_path, "exp_waiting.py", storage, changes=changes) as process:
        executed = tmp_path / "executed.txt"
        sessions.until(lambda: executed.exists() and len(executed.read_text().split()) >= 2)
        sessions.until(lambda: len(moto.keys("away/waiting/jobs/")) == 3)
        proxy.away = True
        (tmp_path / "go").touch()
        first = sessions.ending(process, tmp_path)

    assert first.code == 1, first.text
    assert "is not in the storage, so this session does not pass" in first.text
    assert records(moto, "away", "waiting") == []
    assert len([path for path in spooled(tmp_path) if path.parent.name == "records"]) == 3

    proxy.away = False
    second = sessions.run(tmp_path, "exp_other.py", storage, changes=changes)

    assert second.code == 0, second.text
    assert "3 runs of an earlier session are published" in second.text
    assert len(records(moto, "away", "waiting")) == 3
    assert sorted(executed.read_text().split()) == ["0", "1", "2"]
    assert spooled(tmp_path) == []


def test_resume_publishes_first_and_then_keeps_what_it_has_published(
    tmp_path: Path, moto: Server, proxy: Proxy
) -> None:
    sessions.write(tmp_path, exp_waiting=WAITING)
    options = [f"--storage=s3://{BUCKET}/resumed", "--resume"]
    changes = moto.environ(ENDPOINT=proxy.endpoint, PATIENCE="1")
    with sessions.started(tmp_path, *options, changes=changes) as process:
        executed = tmp_path / "executed.txt"
        sessions.until(lambda: executed.exists() and len(executed.read_text().split()) >= 2)
        sessions.until(lambda: len(moto.keys("resumed/waiting/jobs/")) == 3)
        proxy.away = True
        (tmp_path / "go").touch()
        first = sessions.ending(process, tmp_path)
    proxy.away = False

    second = sessions.run(tmp_path, *options, changes=changes)
    third = sessions.run(tmp_path, *options, changes=changes)

    assert first.code != 0, first.text
    for ended in (second, third):
        assert ended.code == 0, ended.text
        assert "3 of 3 runs kept" in ended.text, ended.text
    assert "3 runs of an earlier session are published" in second.text
    assert len(records(moto, "resumed", "waiting")) == 3
    assert sorted(executed.read_text().split()) == ["0", "1", "2"]
    assert spooled(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "bucket", "told"),
    [
        ({"SECRET_KEY": "wrong-4712"}, BUCKET, "does not let these keys use the bucket"),
        ({"ACCESS_KEY": "nobody"}, BUCKET, "does not let these keys use the bucket"),
        ({}, "no-such-bucket", "there is no bucket 'no-such-bucket'"),
        ({"ENDPOINT": "http://127.0.0.1:9"}, BUCKET, "cannot be reached"),
        ({"ACCESS_KEY": "", "SECRET_KEY": ""}, BUCKET, "lacks TMGG_TIGRIS_ACCESS_KEY or AWS_ACC"),
        ({}, "key:secret@bucket", "without keys"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_told_before_any_run(
    tmp_path: Path, seaweed: Server, change: dict[str, str], bucket: str, told: str
) -> None:
    sessions.write(tmp_path, exp_kept=HANDLERS)

    ended = sessions.run(tmp_path, f"--storage=s3://{bucket}/x", changes=seaweed.environ(**change))

    assert ended.code == 4, ended.text
    assert told in ended.text
    assert servers.SECRET_KEY not in ended.text
    assert "4712" not in ended.text
    assert not (tmp_path / "executed.txt").exists()
    assert ended.text.count(told) == 1


def test_a_rehearsal_keeps_apart_in_the_bucket_too(tmp_path: Path, moto: Server) -> None:
    sessions.write(tmp_path, exp_kept=HANDLERS)

    ended = sessions.run(
        tmp_path, "--stub-mode", f"--storage=s3://{BUCKET}/stub", changes=moto.environ()
    )

    assert ended.code == 0, ended.text
    assert len(moto.keys("stub/.stub/kept/records/")) == 3
    assert moto.keys("stub/kept/") == []


def test_a_dry_run_needs_no_server(tmp_path: Path, moto: Server) -> None:
    sessions.write(tmp_path, exp_kept=HANDLERS)
    changes = moto.environ(ENDPOINT="http://127.0.0.1:9")

    ended = sessions.run(tmp_path, "--dry-run", f"--storage=s3://{BUCKET}/x", changes=changes)

    assert ended.code == 0, ended.text


def test_where_no_attempt_can_be_claimed_what_runs_comes_to_its_end_and_is_kept(
    tmp_path: Path, moto: Server, proxy: Proxy
) -> None:
    sessions.write(tmp_path, exp_waiting=WAITING.replace("seeds(3)", "seeds(60)"))
    storage = f"--storage=s3://{BUCKET}/claims"
    changes = moto.environ(ENDPOINT=proxy.endpoint, PATIENCE="1")

    with sessions.started(tmp_path, storage, changes=changes) as process:
        executed = tmp_path / "executed.txt"
        sessions.until(lambda: executed.exists() and len(executed.read_text().split()) >= 2)
        proxy.away = True
        (tmp_path / "go").touch()
        ended = sessions.ending(process, tmp_path)

    kept = [path for path in spooled(tmp_path) if path.parent.name == "records"]
    begun = executed.read_text().split()
    assert ended.code == 4, ended.text
    assert "cannot be reached" in ended.text
    assert "INTERNALERROR" not in ended.text
    assert 2 <= len(begun) < 60
    assert len(begun) == len(set(begun)) == len(kept) + len(moto.keys("claims/waiting/records/"))


def test_xdist_workers_publish_and_the_controller_judges_from_the_bucket(
    tmp_path: Path, moto: Server
) -> None:
    sessions.write(tmp_path, exp_kept=HANDLERS)

    ended = sessions.run(
        tmp_path, "-n", "2", f"--storage=s3://{BUCKET}/xdist", changes=moto.environ()
    )

    assert ended.code == 0, ended.text
    assert sorted(record["seed"] for record in records(moto, "xdist", "kept")) == [0, 1, 2]
    assert b"score_achieved: 2.0" in moto.get("xdist/kept/results.yaml")
    assert spooled(tmp_path) == []


def test_without_boto3_the_extra_is_named(tmp_path: Path, moto: Server) -> None:
    sessions.write(tmp_path, exp_kept=HANDLERS)
    (tmp_path / "without").mkdir()
    (tmp_path / "without/boto3.py").write_text("raise ImportError('no boto3 here')\n")

    ended = sessions.run(
        tmp_path,
        f"--storage=s3://{BUCKET}/x",
        changes={
            **moto.environ(),
            "PYTHONPATH": f"{tmp_path}/without:{os.environ.get('PYTHONPATH', '')}",
        },
    )

    assert ended.code == 4, ended.text
    assert "pip install 'pytest-gpuexp[tigris]'" in ended.text
    assert not (tmp_path / "executed.txt").exists()


def test_runs_that_outlive_a_killed_session_are_published_by_the_next(
    tmp_path: Path, moto: Server
) -> None:
    sessions.write(tmp_path, exp_waiting=WAITING, exp_other=SECOND)
    storage, executed = f"--storage=s3://{BUCKET}/killed", tmp_path / "executed.txt"

    with sessions.started(tmp_path, "exp_waiting.py", storage, changes=moto.environ()) as process:
        sessions.until(lambda: executed.exists() and len(executed.read_text().split()) >= 2)
        process.kill()
        process.wait()
    (tmp_path / "go").touch()
    begun = len(executed.read_text().split())
    sessions.until(
        lambda: len([one for one in spooled(tmp_path) if one.parent.name == "records"]) >= begun
    )
    second = sessions.run(tmp_path, "exp_other.py", storage, changes=moto.environ())

    assert second.code == 0, second.text
    assert f"{begun} runs of an earlier session are published" in second.text
    assert len(records(moto, "killed", "waiting")) == begun == len(executed.read_text().split())
    assert spooled(tmp_path) == []


def test_an_interrupted_session_leaves_within_seconds_though_the_bucket_is_away(
    tmp_path: Path, moto: Server, proxy: Proxy
) -> None:
    sessions.write(tmp_path, exp_waiting=WAITING)
    changes = moto.environ(ENDPOINT=proxy.endpoint, PATIENCE="600")

    with sessions.started(tmp_path, f"--storage=s3://{BUCKET}/stopped", changes=changes) as process:
        executed = tmp_path / "executed.txt"
        sessions.until(lambda: executed.exists() and len(executed.read_text().split()) >= 2)
        sessions.until(lambda: len(moto.keys("stopped/waiting/jobs/")) == 3)
        proxy.away = True
        (tmp_path / "go").touch()
        sessions.until(
            lambda: len([one for one in spooled(tmp_path) if one.parent.name == "records"]) == 3
        )
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        ended = sessions.ending(process, tmp_path)

    assert ended.code == 2, ended.text
    assert time.monotonic() - before < 20
    assert len([one for one in spooled(tmp_path) if one.parent.name == "records"]) == 3


LARGE = """
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("large")

    @seeds(4)
    def exp_large(runner, seed):
        print("größe", seed)
        runner.log_metrics({"x": seed})
        runner.checkpoint({"seed": seed}, step=seed)
        runner.results.save_artifact("größe/weights.bin", bytes([seed]) * (9 << 20))
        assert seed >= 0
"""


def test_whole_sessions_pass_against_a_server_that_refuses_what_may_be_refused(
    tmp_path: Path,
) -> None:
    sessions.write(tmp_path, exp_large=LARGE)
    storage = f"--storage=s3://{BUCKET}/strict"

    with strict(busy_every=9) as server:
        first = sessions.run(tmp_path, storage, changes=server.environ())
        again = sessions.run(tmp_path, storage, "--resume", changes=server.environ())
        keys = list(server.bucket.objects)

    assert first.code == again.code == 0, first.text + again.text
    assert "4 of 4 runs kept" in again.text
    assert len([key for key in keys if key.startswith("strict/artifacts-by-sha256/")]) == 4
    assert len([key for key in keys if key.startswith("strict/large/records/")]) == 4
    assert not server.bucket.uploads
    ordinary = {"NoSuchKey", "PreconditionFailed", "ConditionalRequestConflict"}
    assert set(server.refused) <= {"SlowDown", "TooManyRequests", *ordinary}
