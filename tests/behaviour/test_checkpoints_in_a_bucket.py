"""Checkpoints reach a bucket while their run goes on, and are restored on another machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.behaviour import sessions
from tests.faults import Proxy, faulty
from tests.servers import BUCKET, Server

TRAINING = """
    import os, signal, time
    from pathlib import Path
    import numpy as np
    from pytest_gpuexp import experiment, tier

    pytestmark = experiment("far")

    def exp_train(runner):
        restored = runner.restore()
        weights = restored.state["weights"] if restored else np.zeros(2)
        for step in range(restored.step + 1 if restored else 0, 6):
            with Path("executed").open("a") as file:
                file.write(f"{step}\\n")
            weights = weights + step
            runner.checkpoint({"weights": weights}, step=step)
            if Path(f"wait-{step}").exists():
                Path("waiting").write_text(str(os.getpid()))
                while not Path("go").exists():
                    time.sleep(0.01)
            if Path(f"die-{step}").exists():
                Path(f"die-{step}").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        assert weights[0] == 15
"""


@pytest.fixture
def proxy(moto: Server) -> Iterator[Proxy]:
    with faulty(moto.endpoint) as proxy:
        yield proxy


def storage(tmp_path: Path) -> str:
    return f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"


def machine(tmp_path: Path, name: str, *marks: str) -> Path:
    """Return a folder with the experiment and a spool of its own."""
    folder = tmp_path / name
    folder.mkdir()
    for mark in marks:
        (folder / mark).touch()
    return sessions.write(folder, exp_far=TRAINING)


def executed(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "executed").read_text().split()]


def in_bucket(server: Server, url: str) -> list[str]:
    """Return the steps of the whole checkpoints in the bucket, and of others with a ``?``."""
    prefix = url.removeprefix(f"s3://{BUCKET}/")
    keys = [key for key in server.keys(f"{prefix}/far/runs/") if "/checkpoint/" in key]
    found: dict[str, bool] = {}
    for key in keys:
        name, _, file = key.partition("/checkpoint/")[2].partition("/")
        found[name] = found.get(name, False) or file == "manifest.json"
    return [name.rpartition("step-")[2] + "?" * (not found[name]) for name in sorted(found)]


def whole_and_few(steps: list[str]) -> bool:
    """Return whether these are the last and at most one before it, each whole."""
    return steps[-1] == "5" and len(steps) <= 2 and not any("?" in step for step in steps)


def records(server: Server, url: str) -> list[dict[str, Any]]:
    prefix = url.removeprefix(f"s3://{BUCKET}/")
    names = server.keys(f"{prefix}/far/records/")
    return [yaml.load(server.get(name), yaml.CSafeLoader) for name in sorted(names)]


def kill(process: Any, folder: Path) -> None:
    """Kill a session, its snapshot and its run."""
    worker = int((folder / "waiting").read_text())
    snapshot = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    for pid in (process.pid, snapshot, worker):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def test_a_crashed_run_goes_on_on_another_machine(tmp_path: Path, moto: Server) -> None:
    url = storage(tmp_path)
    first, second = machine(tmp_path, "first", "die-3"), machine(tmp_path, "second")

    crashed = sessions.run(first, f"--storage={url}", changes=moto.environ())
    between = in_bucket(moto, url)
    shutil.rmtree(first / ".gpuexp")
    resumed = sessions.run(second, f"--storage={url}", "--resume", changes=moto.environ())

    assert (crashed.code, resumed.code) == (1, 0), crashed.text + resumed.text
    assert "3" in between
    assert (executed(first), executed(second)) == ([0, 1, 2, 3], [4, 5])
    assert whole_and_few(in_bucket(moto, url))
    one, two = records(moto, url)
    assert (one["status"], two["status"]) == ("failed", "completed")
    assert (two["restored_step"], two["checkpoint_path"][-6:]) == (3, "step-5")
    prefix = url.removeprefix(f"s3://{BUCKET}/")
    text = moto.get(f"{prefix}/far/{two['checkpoint_path']}/manifest.json")
    assert set(json.loads(text)["sha256"]) == {"state.json", "array-1.npy"}
    left = [path for path in (second / ".gpuexp/spool").rglob("*") if path.is_file()]
    assert left == []


def test_a_machine_that_is_gone_leaves_its_checkpoints_in_the_bucket(
    tmp_path: Path, moto: Server
) -> None:
    url = storage(tmp_path)
    first, second = machine(tmp_path, "first", "wait-3"), machine(tmp_path, "second")

    with sessions.started(first, f"--storage={url}", changes=moto.environ()) as process:
        sessions.until(lambda: "3" in in_bucket(moto, url))  # it is there while the run goes on
        kill(process, first)
    resumed = sessions.run(second, f"--storage={url}", "--resume", changes=moto.environ())

    assert resumed.code == 0, resumed.text
    assert executed(second) == [4, 5]


@pytest.mark.parametrize("last", ["manifest.json", "array-1.npy"])
def test_a_kill_between_two_writes_leaves_no_half_checkpoint(
    tmp_path: Path, moto: Server, proxy: Proxy, last: str
) -> None:
    url = storage(tmp_path)
    first, second = machine(tmp_path, "first", "wait-3"), machine(tmp_path, "second")
    near = {**moto.environ(), "TMGG_TIGRIS_ENDPOINT": proxy.endpoint}
    proxy.leaves_at = lambda request: all(one in request for one in ("PUT", "step-3/", last))

    with sessions.started(first, f"--storage={url}", changes=near) as process:
        sessions.until(lambda: proxy.away and (first / "waiting").exists())
        kill(process, first)
    proxy.leaves_at = lambda request: False
    proxy.away = False
    broken = in_bucket(moto, url)
    resumed = sessions.run(second, f"--storage={url}", "--resume", changes=moto.environ())

    assert "3" not in broken
    assert resumed.code == 0, resumed.text
    assert executed(second)[0] <= 3
    assert executed(second) == list(range(executed(second)[0], 6))
    assert whole_and_few(in_bucket(moto, url))
