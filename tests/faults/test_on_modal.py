"""Sessions and containers are killed, taken away and cut off on Modal; no run is paid for twice."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pytest_gpuexp import documents
from tests.behaviour import sessions
from tests.behaviour.modal_sessions import PYPROJECT, busy, deploy
from tests.faults.proxy import faulty
from tests.faults.test_places import small_disk
from tests.modal_server import starting
from tests.modal_server.starting import ModalServer
from tests.servers import BUCKET, Server

pytestmark = pytest.mark.timeout(200)

RUNS, KILLS = 8, 3
SWEEP = """
    import os, time
    from pathlib import Path
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("swept")
    HERE = Path({folder!r})

    @seeds({runs})
    def exp_swept(runner, seed):
        with (HERE / "ran.txt").open("a") as file:
            file.write(f"{{seed}}\\n")
        runner.log_metrics({{"x": seed}})
        runner.results.save_artifact("a.bin", bytes([seed]) * 5000)
        time.sleep({seconds})
        assert seed >= 0
"""
TRAINING = """
    import time
    from pathlib import Path
    from pytest_gpuexp import experiment

    pytestmark = experiment("training")
    HERE = Path({folder!r})

    def exp_trains(runner):
        found = runner.restore()
        step = found.step if found else 0
        with (HERE / "ran.txt").open("a") as file:
            file.write(f"{{step}}\\n")
        while step < 30:
            step += 1
            (HERE / "step").write_text(str(step))
            time.sleep(0.04)
            runner.checkpoint({{"step": step}}, step=step)
        runner.log_metrics({{"steps": step}})
        assert step == 30
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalServer]:
    """Give a server on which the app of ``PYPROJECT`` is deployed."""
    folder = tmp_path_factory.mktemp("deployed")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    with starting.modal_server("--preemption-grace=3", max_containers=3) as running:
        deploy(running, folder)
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    return tmp_path


def swept(project: Path, *, runs: int = RUNS, seconds: float = 0.15) -> Path:
    source = SWEEP.format(folder=str(project), runs=runs, seconds=seconds)
    return sessions.write(project, exp_swept=source)


def ran(folder: Path) -> Counter[str]:
    file = folder / "ran.txt"
    return Counter(file.read_text().split() if file.exists() else [])


def arguments(*more: str) -> list[str]:
    return ["--backend=modal", "--parallelism=3", *more]


def drawn() -> random.Random:
    seed = random.randrange(10**6)
    print(f"moments are drawn by random.Random({seed})")
    return random.Random(seed)


def test_a_controller_killed_again_and_again_pays_for_each_run_once(
    server: ModalServer, project: Path
) -> None:
    folder, moments = swept(project), drawn()

    for goal in sorted(moments.sample(range(RUNS), KILLS)):
        before = len(server.calls())
        with sessions.started(folder, *arguments("--resume"), changes=server.environ) as process:
            # At a count of runs, or at a first call of its own: between an intent and its handle.
            while process.poll() is None and (
                len(server.calls()) == before or ran(folder).total() < goal
            ):
                time.sleep(0.01)
            time.sleep(moments.random() * 0.2)
            process.kill()
    last = sessions.run(folder, *arguments("--resume"), changes=server.environ)

    assert ran(folder) == {str(number): 1 for number in range(RUNS)}
    assert f"{RUNS} passed" in last.text, last.text
    assert last.code == 0
    results = [documents.read_record(path.read_bytes()) for path in last.record_files()]
    assert sorted(result.seed for result in results) == list(range(RUNS))
    assert {result.status for result in results} == {"completed"}
    assert all(
        (last.run_folder(result.name) / "artifacts/a.bin").read_bytes()
        == bytes([result.seed]) * 5000
        for result in results
    )
    assert not busy(server)


def test_containers_killed_at_random_cost_time_and_no_result(
    server: ModalServer, project: Path, moto: Server
) -> None:
    """The results go to a bucket."""
    folder, moments, killed = swept(project, runs=6, seconds=0.6), drawn(), 0
    changes = {**server.environ, **moto.environ()}
    storage = f"--storage=s3://{BUCKET}/{project.name}"

    with sessions.started(folder, *arguments(storage), changes=changes) as process:
        while process.poll() is None and killed < 3:
            if ran(folder).total() > 2 * killed and (containers := busy(server)):
                time.sleep(moments.random() * 0.5)
                server.kill(moments.choice(containers)["task_id"])
                killed += 1
            time.sleep(0.02)
        ended = sessions.ending(process, folder)

    assert killed == 3
    assert ended.code == 0, ended.text
    assert "6 passed" in ended.text
    keys = moto.keys(f"{project.name}/swept/records/")
    assert sorted(documents.read_record(moto.get(key)).seed for key in keys) == list(range(6))
    assert len(moto.keys(f"{project.name}/artifacts-by-sha256/")) == 6
    assert set(ran(folder)) == {str(number) for number in range(6)}
    assert ran(folder).total() <= 6 + killed


def test_training_that_is_preempted_twice_never_begins_anew(
    server: ModalServer, project: Path
) -> None:
    folder, moments = project, drawn()
    sessions.write(folder, exp_training=TRAINING.format(folder=str(folder)))
    step = folder / "step"

    def has_come_to(goal: int) -> bool:
        return step.exists() and int(step.read_text() or 0) >= goal and bool(busy(server))

    def has_begun(times: int) -> bool:
        return ran(folder).total() == times

    with sessions.started(folder, *arguments(), changes=server.environ) as process:
        for taken, goal in enumerate(sorted(moments.sample(range(3, 24), 2)), 1):
            sessions.until(partial(has_come_to, goal))
            server.preempt(busy(server)[0]["task_id"])
            sessions.until(partial(has_begun, taken + 1))
        ended = sessions.ending(process, folder)

    assert ended.code == 0, ended.text
    begun = [int(line) for line in (folder / "ran.txt").read_text().split()]
    assert len(begun) == 3
    assert begun == sorted(set(begun))
    record = ended.record("exp_trains")
    assert (record["status"], record["metrics"]["steps"]) == ("completed", 30)
    assert record["restored_step"] == begun[-1]
    assert len(ended.record_files()) == 1


def test_a_session_and_a_container_killed_together_cost_one_start(
    server: ModalServer, project: Path
) -> None:
    folder = swept(project, runs=2, seconds=1.5)

    with sessions.started(folder, *arguments(), changes=server.environ) as process:
        sessions.until(lambda: ran(folder).total() == 2)
        process.kill()
        server.kill(busy(server)[0]["task_id"])
    ended = sessions.run(folder, *arguments("--resume"), changes=server.environ)

    assert ended.code == 0, ended.text
    assert "2 taken over, begun " in ended.text
    assert sorted(ran(folder).values()) == [1, 2]
    assert [record["attempt"] for record in ended.records("exp_swept[seed:0]")] == [1]


def test_two_sessions_on_modal_call_each_run_once(server: ModalServer, project: Path) -> None:
    folder, before = swept(project, runs=6, seconds=0.3), len(server.calls())

    with (
        sessions.started(folder, *arguments(), changes=server.environ) as one,
        sessions.started(folder, *arguments(), changes=server.environ) as two,
    ):
        ended = [sessions.ending(one, folder), sessions.ending(two, folder)]

    assert [each.code for each in ended] == [0, 0], ended[0].text + ended[1].text
    assert all("6 passed" in each.text for each in ended)
    assert ran(folder) == {str(number): 1 for number in range(6)}
    assert len(server.calls()) == before + 6


def test_a_second_ctrl_c_ends_the_session_and_what_it_has_called(
    server: ModalServer, project: Path
) -> None:
    folder = swept(project, runs=2, seconds=30)

    with sessions.started(folder, *arguments(), changes=server.environ) as process:
        sessions.until(lambda: ran(folder).total() == 2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        ended = sessions.ending(process, folder)
    sessions.until(lambda: not busy(server))

    # Where the second one meets pytest while it closes, it ends as Python does.
    assert ended.code in (2, -signal.SIGINT), ended.text
    assert "INTERNALERROR" not in ended.text
    assert {record["status"] for record in ended.records("exp_swept[seed:0]")} <= {"cancelled"}


def test_a_bucket_that_goes_away_costs_no_second_call(
    server: ModalServer, project: Path, moto: Server
) -> None:
    folder, storage = swept(project, runs=3), f"--storage=s3://{BUCKET}/{project.name}"
    before = len(server.calls())

    with faulty(moto.endpoint) as proxy:
        changes = {**server.environ, **moto.environ(ENDPOINT=proxy.endpoint, PATIENCE="1")}
        proxy.leaves_at = lambda request: "PUT" in request and "/records/" in request
        first = sessions.run(folder, *arguments(storage), changes=changes)
        proxy.leaves_at, proxy.away = (lambda request: False), False
        again = sessions.run(folder, *arguments(storage, "--resume"), changes=changes)

    assert first.code == 1, first.text
    assert "is not in the storage, so this session does not pass" in first.text
    assert again.code == 0, again.text
    assert "3 runs of an earlier session are published" in again.text
    assert "3 of 3 runs kept" in again.text
    assert len(server.calls()) == before + 3


def test_a_full_disk_leaves_what_has_ended_with_modal(server: ModalServer, project: Path) -> None:
    source = SWEEP.format(folder=str(project), runs=8, seconds=0.05)
    folder = sessions.write(project, exp_swept=source.replace("* 5000", "* 50_000"))
    before = len(server.calls())

    with small_disk(project / "results"):
        first = sessions.run(folder, *arguments(), changes=server.environ)
        kept = len(first.record_files())
        more = ["mount", "-o", "remount,size=8m", str(project / "results")]
        subprocess.run(more, check=True, timeout=20)
        again = sessions.run(folder, *arguments("--resume"), changes=server.environ)

    assert first.code == 4, first.text
    assert "No space left on device. They are kept there; come back with: pytest --resume" in (
        first.text
    )
    assert f"{kept} of 8 runs kept" in again.text, again.text
    assert again.code == 0
    assert ran(folder) == {str(number): 1 for number in range(8)}
    assert len(server.calls()) == before + 8
