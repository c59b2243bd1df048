"""A bucket that fails, a full disk, a clock that is set back, and damaged records."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from pytest_gpuexp import documents
from tests.behaviour import sessions
from tests.faults.proxy import Proxy, faulty
from tests.servers import BUCKET, Server

SWEEP = """
    import time
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("swept")

    @seeds(SEEDS)
    def exp_swept(runner, seed):
        with open("ran.txt", "a") as file:
            file.write(f"{seed}\\n")
        runner.log_metrics({"x": seed})
        runner.results.save_artifact("a.bin", bytes([seed]) * SIZE)
        time.sleep(0.1)
        assert seed >= 0
"""


def ran(folder: Path) -> list[int]:
    file = folder / "ran.txt"
    return sorted(map(int, file.read_text().split())) if file.exists() else []


def swept(folder: Path, *, seeds: int, size: int = 10_000) -> Path:
    source = SWEEP.replace("SEEDS", str(seeds)).replace("SIZE", str(size))
    return sessions.write(folder, exp_swept=source)


@pytest.fixture
def proxy(moto: Server) -> Iterator[Proxy]:
    with faulty(moto.endpoint) as proxy:
        yield proxy


def test_a_bucket_that_fails_in_every_way_loses_nothing(
    tmp_path: Path, moto: Server, proxy: Proxy
) -> None:
    folder, storage = swept(tmp_path, seeds=6), f"--storage=s3://{BUCKET}/{tmp_path.name}"
    kinds = ["503", "", "reset", "lost", "500", "half", "torn", "", "lost", "hang", "lost", "half"]
    proxy.faults = [*kinds, *reversed(kinds)]
    changes = moto.environ(ENDPOINT=proxy.endpoint, TIMEOUT="2")

    first = sessions.run(folder, storage, "--parallelism=4", changes=changes)
    again = sessions.run(folder, storage, "--resume", changes=changes)

    assert first.code == 0, first.text
    assert proxy.faults == []
    assert "6 of 6 runs kept" in again.text, again.text
    assert ran(folder) == list(range(6))
    keys = moto.keys(f"{tmp_path.name}/swept/records/")
    assert sorted(documents.read_record(moto.get(key)).seed for key in keys) == list(range(6))
    assert len(moto.keys(f"{tmp_path.name}/artifacts-by-sha256/")) == 6


def test_a_bucket_that_is_away_for_a_while_is_waited_for(
    tmp_path: Path, moto: Server, proxy: Proxy
) -> None:
    """One that is away for good is told in ``test_tigris``: the next session publishes."""
    folder, storage = swept(tmp_path, seeds=8), f"--storage=s3://{BUCKET}/{tmp_path.name}"
    changes = moto.environ(ENDPOINT=proxy.endpoint)

    with sessions.started(folder, storage, "--parallelism=2", changes=changes) as process:
        sessions.until(lambda: len(ran(folder)) >= 2)
        proxy.away = True
        threading.Timer(3, lambda: setattr(proxy, "away", False)).start()
        ended = sessions.ending(process, folder)

    assert ended.code == 0, ended.text
    assert ended.text.count("it is asked again for up to 20 s, and what runs goes on") == 1
    assert "8 passed" in ended.text
    assert ran(folder) == list(range(8))
    assert len(moto.keys(f"{tmp_path.name}/swept/records/")) == 8


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Mount a file system of 256 kB, which is full as disks are: ENOSPC."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        subprocess.run(words, check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=20)


def test_a_full_disk_leaves_whole_records_or_none_and_costs_no_finished_run(
    tmp_path: Path,
) -> None:
    folder = swept(tmp_path, seeds=10, size=40_000)

    with small_disk(tmp_path / "results"):
        first = sessions.run(folder, "--parallelism=2")
        kept = first.record_files()
        whole = [documents.read_record(path.read_bytes(), str(path)) for path in kept]
        done = [result.seed for result in whole if result.status == "completed"]
        more = ["mount", "-o", "remount,size=8m", str(tmp_path / "results")]
        subprocess.run(more, check=True, timeout=20)
        again = sessions.run(folder, "--resume", "--parallelism=2")
        stored = (tmp_path / "results/swept/results.yaml").read_text()

    assert first.code != 0
    assert "No space left on device" in first.text
    assert "INTERNALERROR" not in first.text, first.text
    assert 1 <= len(done) < 10
    assert f"{len(done)} of 10 runs kept" in again.text, again.text
    assert again.code == 0, again.text
    assert yaml.safe_load(stored)["status"] == "completed"
    assert all(ran(folder).count(seed) == 1 for seed in done)


CLOCK = """
    import os, time

    real = time.time
    time.time = lambda: real() - float(os.environ.get("SET_BACK", 0))
"""
FLAKY = """
    from pathlib import Path
    from pytest_gpuexp import seeds

    @seeds(2)
    def exp_flaky(runner, seed):
        first = not Path("fixed").exists()
        runner.log_metrics({"x": 1.0 if first else 2.0})
        assert seed >= 0
        if first and seed:
            raise ValueError("broken")
"""


def test_a_clock_that_is_set_back_changes_no_order_of_attempts(tmp_path: Path) -> None:
    """The clock is the one of every process of ours, by a conftest that they all load."""
    folder = sessions.write(tmp_path, exp_flaky=FLAKY, conftest=CLOCK)

    sessions.run(folder)
    (folder / "fixed").touch()
    back = sessions.run(folder, "--resume", changes={"SET_BACK": "900000"})
    third = sessions.run(folder, "--resume", changes={"SET_BACK": "1800000"})

    assert "1 of 2 runs kept, 1 to run\n  1 failed before\n" in back.text
    attempts = third.records("exp_flaky[seed:1]")
    assert [one["status"] for one in attempts] == ["failed", "completed"]
    assert attempts[1]["started_at"] < attempts[0]["started_at"]
    assert "2 of 2 runs kept, 0 to run" in third.text
    assert third.code == 0
    runs = yaml.safe_load((folder / "results/exp_flaky/results.yaml").read_text())
    (variant,) = runs["results"]["experiments"]["exp_flaky"]["variants"]
    assert [run["metrics"]["x"] for run in variant["runs"]] == [1.0, 2.0]


DAMAGES: dict[str, Callable[[str], str]] = {
    "cut early": lambda text: text[:200],
    "cut after what must be there": lambda text: text[: text.index("provenance:")],
    "not YAML": lambda text: "{not: [yaml",
    "of an older version": lambda text: text.replace("version: 1", "version: 0"),
    "empty": lambda text: "",
}


def test_damaged_records_cost_their_own_runs_alone_and_are_named(tmp_path: Path) -> None:
    folder = swept(tmp_path, seeds=6, size=1)
    sessions.run(folder, "--parallelism=4")
    damaged = {}
    for path, damage in zip(
        sorted(folder.glob("results/*/records/*")), DAMAGES.values(), strict=False
    ):
        damaged[path] = damage(path.read_text())
        path.write_text(damaged[path])

    again = sessions.run(folder, "--resume", "--any-code", "--parallelism=4")
    third = sessions.run(folder, "--resume", "--dry-run")

    assert "1 of 6 runs kept, 5 to run" in again.text, again.text
    for path, text in damaged.items():
        assert f"1 unreadable record: swept/records/{path.name}\n" in again.text
        assert path.read_text() == text
    assert "6 passed" in again.text
    assert again.code == 0
    assert len(ran(folder)) == 11
    assert "6 of 6 runs kept" in third.text
