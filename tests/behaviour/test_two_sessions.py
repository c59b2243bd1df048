"""Two sessions on one storage at the same time never run the same run twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest
import yaml

from tests.behaviour import sessions
from tests.behaviour.sessions import Ended
from tests.servers import BUCKET, Server

# Where a session is held until both have collected, the race is at its closest.
SHARED = """
    import os, time
    from pathlib import Path
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("shared")
    ROOT = Path(os.environ["SHARED"])

    @seeds(12)
    def exp_shared(runner, seed):
        with (ROOT / "ran.txt").open("a") as file:
            file.write(f"{seed}\\n")
        runner.log_metrics({"x": seed})
        if "HELD" in os.environ:
            while not (ROOT / "go").exists():
                time.sleep(0.01)
        time.sleep(0.02)
        assert seed < 11
"""
CONFTEST = """
    import os, time
    from pathlib import Path

    ROOT = Path(os.environ["SHARED"])
    if "PYTEST_GPUEXP_WORKER" not in os.environ:
        (ROOT / os.environ["MACHINE"]).touch()
        while "ALONE" not in os.environ and not all((ROOT / m).exists() for m in ("one", "two")):
            time.sleep(0.001)
    else:
        (ROOT / f"snapshot-{os.environ['MACHINE']}").write_text(str(os.getpid()))
"""
ALL = {str(seed): 1 for seed in range(12)}


def machine(folder: Path, name: str) -> Path:
    """Write the project into a folder of its own, with a spool of its own."""
    place = folder / name
    place.mkdir(exist_ok=True)
    return sessions.write(place, exp_shared=SHARED, conftest=CONFTEST)


@contextmanager
def begun(
    folder: Path, name: str, storage: str, *arguments: str, **changes: str | None
) -> Iterator[Popen[bytes]]:
    place = machine(folder, f"machine-{name}")
    around = {"SHARED": str(folder), "MACHINE": name, "PYTHONUNBUFFERED": "1", **changes}
    words = ["--parallelism=2", f"--storage={storage}", *arguments]
    with sessions.started(place, *words, changes=around) as process:
        yield process


def ran(folder: Path) -> Counter[str]:
    file = folder / "ran.txt"
    return Counter(file.read_text().split() if file.exists() else [])


def ended(process: Popen[bytes], folder: Path) -> Ended:
    return sessions.ending(process, folder)


@pytest.fixture
def bucket(moto: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A storage that two machines share."""
    for name, value in moto.environ().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.mark.parametrize(
    ("place", "arguments"), [("bucket", ["--resume"]), ("folder", ["--resume"]), ("folder", [])]
)
def test_two_sessions_that_start_together_share_the_runs(
    tmp_path: Path, bucket: str, place: str, arguments: list[str]
) -> None:
    storage = bucket if place == "bucket" else str(tmp_path / "results")
    with (
        begun(tmp_path, "one", storage, *arguments) as one,
        begun(tmp_path, "two", storage, *arguments) as two,
    ):
        both = [ended(one, tmp_path), ended(two, tmp_path)]

    assert ran(tmp_path) == ALL
    for session in both:
        assert "1 failed, 11 passed" in session.text, session.text
        assert session.code == 1


def test_a_session_whose_machine_is_gone_leaves_its_runs_to_others(
    tmp_path: Path, moto: Server
) -> None:
    """The other machine cannot see the process, so it must wait for signs that do not come."""
    storage = f"s3://{BUCKET}/{tmp_path.name}"
    changes = {**moto.environ(), "ALONE": "1", "PYTEST_GPUEXP_LEASE": "2s"}
    with begun(tmp_path, "one", storage, "--resume", HELD="1", **changes) as one:
        sessions.until(lambda: sum(ran(tmp_path).values()) >= 2)
        sessions.until(lambda: len(moto.keys(f"{tmp_path.name}/shared/jobs/")) >= 4)
        snapshot = int((tmp_path / "snapshot-one").read_text())
        os.kill(one.pid, signal.SIGKILL)
        os.kill(snapshot, signal.SIGKILL)
    begun_there = ran(tmp_path)
    # What another machine would read: a boot and pids that are not this one's.
    for key in moto.keys(f"{tmp_path.name}/shared/jobs/"):
        claim = yaml.safe_load(moto.get(key))
        claim["machine"] = "elsewhere"
        moto.client().put_object(Bucket=BUCKET, Key=key, Body=yaml.safe_dump(claim).encode())

    with begun(tmp_path, "two", storage, "--resume", **changes) as two:
        session = ended(two, tmp_path)

    assert "runs are with another session" in session.text, session.text
    assert "1 failed, 11 passed" in session.text
    assert ran(tmp_path) == Counter(ALL) + begun_there
    assert sum(begun_there.values()) == 2
    assert moto.keys(f"{tmp_path.name}/.sessions/") == []


def test_a_second_session_waits_for_the_first_and_runs_what_it_leaves(
    tmp_path: Path, bucket: str
) -> None:
    with begun(tmp_path, "one", bucket, HELD="1", ALONE="1") as one:
        sessions.until(lambda: sum(ran(tmp_path).values()) >= 2)
        with begun(tmp_path, "two", bucket, "--resume") as two:
            sessions.until(lambda: sum(ran(tmp_path).values()) >= 10)
            one.send_signal(signal.SIGINT)
            first = ended(one, tmp_path)
            second = ended(two, tmp_path)

    assert first.code == 2, first.text
    assert " running, " in second.text, second.text
    assert "1 failed, 11 passed" in second.text
    twice = [seed for seed, times in ran(tmp_path).items() if times == 2]
    assert len(twice) == 2  # those that the first was interrupted in
    assert set(ran(tmp_path)) == set(ALL)


def test_other_code_is_another_run_though_one_is_under_way(tmp_path: Path) -> None:
    storage = str(tmp_path / "results")
    with begun(tmp_path, "one", storage, "-k", "seed:0", HELD="1", ALONE="1") as one:
        sessions.until(lambda: sum(ran(tmp_path).values()) >= 1)
        place = machine(tmp_path, "machine-two")
        source = (place / "exp_shared.py").read_text()
        (place / "exp_shared.py").write_text(source.replace('"x": seed', '"x": seed + 1'))
        around = {"SHARED": str(tmp_path), "MACHINE": "two"}
        second = sessions.run(place, "-k", "seed:0", f"--storage={storage}", changes=around)
        (tmp_path / "go").touch()
        first = ended(one, tmp_path)

    assert (first.code, second.code) == (0, 0), first.text + second.text
    assert ran(tmp_path) == {"0": 2}
    records = sorted((tmp_path / "results/shared/records").iterdir())
    assert [yaml.safe_load(path.read_text())["metrics"]["x"] for path in records] == [0, 1]
