"""Controllers, workers and snapshots are killed; each run is executed once, and none is lost."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.behaviour import sessions

SWEEP = """
    import time
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("swept")

    @seeds(30)
    def exp_swept(runner, seed):
        with open("ran.txt", "a") as file:
            file.write(f"{seed}\\n")
        runner.log_metrics({"x": seed})
        time.sleep(0.15)
        assert seed >= 0
"""
BEGUN = """
    import os

    if "PYTEST_GPUEXP_WORKER" not in os.environ:
        open("begun", "w").close()
"""
KILLS = 20


def ran(folder: Path) -> Counter[str]:
    file = folder / "ran.txt"
    return Counter(file.read_text().split() if file.exists() else [])


@pytest.mark.timeout(400)
def test_a_controller_killed_twenty_times_executes_each_run_once(tmp_path: Path) -> None:
    folder = sessions.write(tmp_path, exp_swept=SWEEP, conftest=BEGUN)
    seed = random.randrange(10**6)
    print(f"moments are drawn by random.Random({seed})")
    moments = random.Random(seed)
    goals = sorted(moments.sample(range(1, 30), KILLS))

    for goal in goals:
        (folder / "begun").unlink(missing_ok=True)
        with sessions.started(folder, "--resume", "--parallelism=4") as process:
            # At a count of runs, or before any of its own: between a claim and a start, too.
            sessions.until(lambda: (folder / "begun").exists() or process.poll() is not None)
            while process.poll() is None and sum(ran(folder).values()) < goal:
                time.sleep(0.005)
            time.sleep(moments.random() * 0.2)
            process.kill()
    last = sessions.run(folder, "--resume", "--parallelism=4")

    assert ran(folder) == {str(number): 1 for number in range(30)}, seed
    assert "30 passed" in last.text, last.text
    assert last.code == 0
    records = [yaml.load(path.read_bytes(), yaml.CSafeLoader) for path in last.record_files()]
    assert sorted(record["seed"] for record in records) == list(range(30))
    assert {record["status"] for record in records} == {"completed"}
    # Of the dead sessions' signs the last may be left: a session that runs nothing clears none.
    assert len(list((folder / "results/.sessions").iterdir())) <= 1


KILLER = """
    import os, signal, time
    from pathlib import Path
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("killer")

    def once(name):
        try:
            Path(name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    @seeds(6)
    def exp_killer(runner, seed):
        with open("ran.txt", "a") as file:
            file.write(f"{seed}\\n")
        runner.log_metrics({"x": seed})
        if seed == 0 and once("worker"):
            os.kill(os.getpid(), signal.SIGKILL)
        if seed == 2 and once("snapshot"):
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        assert seed >= 0
"""


def test_what_a_killed_worker_and_a_killed_snapshot_cost_is_run_again(tmp_path: Path) -> None:
    folder = sessions.write(tmp_path, exp_killer=KILLER)

    first = sessions.run(folder, "--parallelism=1")
    second = sessions.run(folder, "--resume", "--parallelism=1")

    assert first.code == 1
    assert "4 passed, 2 errors" in first.text, first.text
    assert "was killed by SIGKILL" in first.text
    assert "the snapshot that supervised the run was killed from outside" in first.text
    assert "4 of 6 runs kept, 2 to run\n  1 failed before\n  1 lost before\n" in second.text
    assert "6 passed" in second.text
    assert ran(folder) == {"0": 2, "1": 1, "2": 2, "3": 1, "4": 1, "5": 1}


SLOW_DISK = """
    import os, signal, time
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("slow")

    def after_a_while(*arguments, link=os.link, **options):
        time.sleep(0.5)
        return link(*arguments, **options)

    @seeds(2)
    def exp_slow(runner, seed):
        with open("ran.txt", "a") as file:
            file.write(f"{seed}\\n")
        runner.log_metrics({"x": seed})
        if seed:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        os.link = after_a_while  # by which a record comes to its place
        assert seed >= 0
"""


def test_a_run_that_has_ended_is_kept_though_its_snapshot_dies_before_its_record_is_written(
    tmp_path: Path,
) -> None:
    folder = sessions.write(tmp_path, exp_slow=SLOW_DISK)

    ended = sessions.run(folder, "--parallelism=1")

    assert "1 passed, 1 error" in ended.text, ended.text
    assert ended.record("exp_slow[seed:0]")["status"] == "completed"
    assert ended.record("exp_slow[seed:1]")["status"] == "lost"
    assert ran(folder) == {"0": 1, "1": 1}


ORPHANED = """
    import os, time
    from pytest_gpuexp import experiment

    pytestmark = experiment("orphaned")

    def after_a_while(*arguments, link=os.link, **options):
        open("writing.txt", "w").close()
        time.sleep(2)
        return link(*arguments, **options)

    def exp_orphaned(runner):
        with open("ran.txt", "a") as file:
            file.write("0\\n")
        os.link = after_a_while
        assert True
"""


def test_a_run_whose_record_is_still_being_written_is_waited_for_though_all_others_were_killed(
    tmp_path: Path,
) -> None:
    folder = sessions.write(tmp_path, exp_orphaned=ORPHANED)
    with sessions.started(folder, "--parallelism=1") as session:
        sessions.until((folder / "writing.txt").exists)
        [snapshot] = children_of(session.pid)
        os.kill(snapshot, signal.SIGKILL)
        session.kill()

    resumed = sessions.run(folder, "--resume")

    assert "1 passed" in resumed.text, resumed.text
    assert ran(folder) == {"0": 1}


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


STUBBORN = """
    import signal, time
    from pathlib import Path
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("stubborn")

    @seeds(2)
    def exp_stubborn(runner, seed):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        runner.log_metrics({"x": seed})
        Path(f"began-{seed}").touch()
        while not Path("go").exists():
            time.sleep(0.01)
        assert seed >= 0
"""


def test_a_second_ctrl_c_leaves_no_run_behind_and_no_record_out(tmp_path: Path) -> None:
    """The first one is told in ``test_interrupts``; the runs here do not listen to it."""
    folder = sessions.write(tmp_path, exp_stubborn=STUBBORN)

    with sessions.started(folder, "--parallelism=2") as process:
        sessions.until(lambda: len(list(folder.glob("began-*"))) == 2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        ended = sessions.ending(process, folder)
    sessions.until(lambda: len(ended.record_files()) == 2)
    (folder / "go").touch()
    again = sessions.run(folder, "--resume")

    assert ended.code == 2, ended.text
    assert "INTERNALERROR" not in ended.text
    assert [ended.records(f"exp_stubborn[seed:{n}]")[0]["status"] for n in (0, 1)] == [
        "cancelled"
    ] * 2
    assert "0 of 2 runs kept, 2 to run\n  2 cancelled before\n" in again.text, again.text
    assert "2 passed" in again.text
