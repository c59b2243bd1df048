"""A run that is broken off goes on from its last checkpoint; none makes another skip its work."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour import sessions

TRAINING = """
    import os, signal, time
    from pathlib import Path
    import numpy as np
    from pytest_gpuexp import experiment, tier

    pytestmark = experiment("training")

    def note(text):
        with Path("executed").open("a") as file:
            file.write(f"{text}\\n")

    AGAIN = {"retries": 1, "on": {"failed", "preempted", "lost"}} if "RETRIES" in os.environ else {}

    @tier(timeout=60, **AGAIN)
    def exp_train(runner):
        restored = runner.restore()
        weights = restored.state["weights"] if restored else np.zeros(2)
        first = restored.step + 1 if restored else 0
        for step in range(first, 6):
            note(step)
            weights = weights + step
            runner.checkpoint({"weights": weights}, step=step)
            how = Path(f"at-{step}")
            if how.exists():
                what = how.read_text()
                how.unlink()
                if what == "crash":
                    raise ValueError("broken")
                if what == "wait":
                    Path("waiting").write_text(str(os.getpid()))
                    time.sleep(120)
                os.kill(os.getpid(), getattr(signal, what))
        runner.log_metrics({"sum": weights[0]})
        assert weights[0] == 15
"""
STOPPED = """
    import os, signal, time
    from pathlib import Path
    from pytest_gpuexp import experiment, tier

    pytestmark = experiment("stopped")

    @tier(timeout=os.environ.get("LIMIT", "60s"), retries=int(os.environ.get("RETRIES", "0")))
    def exp_long(runner):
        restored = runner.restore()
        if restored:
            assert restored.state == {"at": "the end"}
            return {"finding": "went on"}
        Path("pid").write_text(str(os.getpid()))
        while not runner.stopping:
            time.sleep(0.01)
            Path("looked").touch()
        runner.checkpoint({"at": "the end"}, step=7)
        if "STUBBORN" in os.environ:
            time.sleep(120)
        if "CRASHES" in os.environ:
            raise ValueError("while it stopped")
        assert True
"""


def executed(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "executed").read_text().split()]


def training(folder: Path, **at: str) -> Path:
    sessions.write(folder, exp_training=TRAINING)
    for step, what in at.items():
        (folder / step.replace("_", "-")).write_text(what)
    return folder


@pytest.mark.parametrize("what", ["crash", "SIGKILL", "SIGTERM"])
def test_a_retry_goes_on_where_the_last_attempt_was(tmp_path: Path, what: str) -> None:
    folder = training(tmp_path, at_2=what)

    ended = sessions.run(folder, "exp_training.py", changes={"RETRIES": "1"})

    assert ended.code == 0, ended.text
    assert executed(folder) == [0, 1, 2, 3, 4, 5]
    first, last = ended.records("exp_train")
    assert first["checkpoint_path"].endswith("/checkpoint/000003.attempt-1.step-2")
    assert last["checkpoint_path"].endswith("/checkpoint/000006.attempt-2.step-5")
    assert (first.get("restored_step"), last["restored_step"]) == (None, 2)
    assert (folder / "results/training" / last["checkpoint_path"] / "manifest.json").exists()
    assert last["metrics"] == {"sum": 15.0}


def test_a_retry_in_the_sessions_own_process_goes_on_too(tmp_path: Path) -> None:
    folder = training(tmp_path, at_2="crash")

    ended = sessions.run(
        folder, "exp_training.py", "--backend=in-process", changes={"RETRIES": "1"}
    )

    assert ended.code == 0, ended.text
    assert executed(folder) == [0, 1, 2, 3, 4, 5]


def test_a_resumed_session_goes_on(tmp_path: Path) -> None:
    folder = training(tmp_path, at_1="crash", at_3="SIGKILL")
    crashed = sessions.run(folder, "exp_training.py")
    killed = sessions.run(folder, "exp_training.py", "--resume")

    done = sessions.run(folder, "exp_training.py", "--resume")

    assert (crashed.code, killed.code, done.code) == (1, 1, 0)
    assert executed(folder) == [0, 1, 2, 3, 4, 5]
    assert [one.get("restored_step") for one in done.records("exp_train")[::2]] == [None, 3]
    assert len(list((folder / "results").rglob("manifest.json"))) == 2


def test_neither_a_plain_session_nor_a_completed_run_is_gone_on_from(tmp_path: Path) -> None:
    folder = training(tmp_path, at_1="crash")
    sessions.run(folder, "exp_training.py")

    anew = sessions.run(folder, "exp_training.py")
    asked = sessions.run(folder, "exp_training.py", "--resume", "--rerun=all")

    assert (anew.code, asked.code) == (0, 0)
    whole = [0, 1, 2, 3, 4, 5]
    assert executed(folder) == [0, 1, *whole, *whole]


def test_the_death_of_session_and_snapshot_costs_no_training(tmp_path: Path) -> None:
    folder = training(tmp_path, at_4="wait")
    with sessions.started(folder, "exp_training.py") as process:
        sessions.until(lambda: (folder / "waiting").exists())
        worker = int((folder / "waiting").read_text())
        snapshot = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        process.kill()
        os.kill(snapshot, signal.SIGKILL)
        process.wait()

    ended = sessions.run(folder, "exp_training.py", "--resume")

    assert ended.code == 0, ended.text
    assert executed(folder) == [0, 1, 2, 3, 4, 5]
    assert ended.record("exp_train")["restored_step"] == 4


def test_a_lost_snapshot_is_retried_in_the_same_session(tmp_path: Path) -> None:
    folder = training(tmp_path, at_4="wait")
    with sessions.started(folder, "exp_training.py", changes={"RETRIES": "1"}) as process:
        sessions.until(lambda: (folder / "waiting").exists())
        worker = int((folder / "waiting").read_text())
        snapshot = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(snapshot, signal.SIGKILL)
        ended = sessions.ending(process, folder)

    assert ended.code == 0, ended.text
    assert "exp_train: attempt 2 of 2 after lost" in ended.text
    assert executed(folder) == [0, 1, 2, 3, 4, 5]


def test_other_code_begins_anew_unless_any_is_asked_for(tmp_path: Path) -> None:
    folder = training(tmp_path, at_2="crash")
    sessions.run(folder, "exp_training.py")
    source = (folder / "exp_training.py").read_text()
    (folder / "exp_training.py").write_text(source.replace("weights + step", "weights + step * 1"))
    (folder / "at-4").write_text("crash")

    other = sessions.run(folder, "exp_training.py", "--resume")
    (folder / "exp_training.py").write_text(source)
    any_code = sessions.run(folder, "exp_training.py", "--resume", "--any-code")

    assert executed(folder) == [0, 1, 2, 0, 1, 2, 3, 4, 5]
    assert (
        "gpuexp: exp_train: the checkpoint at step 2 of attempt 1 is of other code "
        "(exp_training.py changed), so the run begins anew; --resume --any-code goes on from it"
    ) in other.text
    assert any_code.code == 0
    assert any_code.record("exp_train")["restored_step"] == 4


@pytest.mark.parametrize(
    "changes", [{}, {"CRASHES": "1"}, {"STUBBORN": "1"}], ids=["leaves", "crashes", "stays"]
)
def test_at_its_time_limit_a_run_has_its_grace(tmp_path: Path, changes: dict[str, Any]) -> None:
    sessions.write(tmp_path, exp_stopped=STOPPED)

    ended = sessions.run(tmp_path, "exp_stopped.py", changes={"LIMIT": "1s", **changes})

    record = ended.record("exp_long")
    assert (record["status"], record["verdict"]) == ("timeout", "not_evaluated")
    assert "longer than its timeout of 1 s and was ended" in record["error_message"]
    assert ("while it stopped: ValueError" in record["error_message"]) == ("CRASHES" in changes)
    assert record["checkpoint_path"].endswith("000001.attempt-1.step-7")
    assert ended.code == 1
    assert "1 error" in ended.text
    assert "passed" not in ended.text.splitlines()[-1]


@pytest.mark.parametrize(
    ("stubborn", "isolation"),
    [({}, "spawn"), ({"STUBBORN": "1"}, "fork")],
    ids=["leaves", "stays"],
)
def test_a_preempted_run_has_its_grace_and_goes_on(
    tmp_path: Path, stubborn: dict[str, Any], isolation: str
) -> None:
    sessions.write(tmp_path, exp_stopped=STOPPED)
    changes = {"RETRIES": "1", **stubborn}

    how = f"--gpuexp-isolation={isolation}"
    with sessions.started(tmp_path, "exp_stopped.py", how, changes=changes) as process:
        sessions.until(lambda: (tmp_path / "looked").exists())
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        ended = sessions.ending(process, tmp_path)

    assert ended.code == 0, ended.text
    assert "1 passed" in ended.text
    first, second = ended.records("exp_long")
    assert (first["status"], second["status"]) == ("preempted", "completed")
    assert second["finding"] == "went on"
    assert "exp_long: attempt 2 of 2 after preempted" in ended.text


@pytest.mark.parametrize("how", ["local", "in-process"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_session_lets_its_runs_save_themselves(
    tmp_path: Path, number: signal.Signals, how: str
) -> None:
    sessions.write(tmp_path, exp_stopped=STOPPED)

    with sessions.started(tmp_path, "exp_stopped.py", f"--backend={how}") as process:
        sessions.until(lambda: (tmp_path / "looked").exists())
        process.send_signal(number)
        ended = sessions.ending(process, tmp_path)
    resumed = sessions.run(tmp_path, "exp_stopped.py", f"--backend={how}", "--resume")

    assert ended.code == 2, ended.text
    first, second = resumed.records("exp_long")
    assert first["status"] == "cancelled"
    assert first["checkpoint_path"].endswith("000001.attempt-1.step-7")
    assert second["finding"] == "went on"


def test_a_run_that_does_not_look_is_ended_at_once(tmp_path: Path) -> None:
    folder = training(tmp_path, at_4="wait")
    with sessions.started(folder, "exp_training.py") as process:
        sessions.until(lambda: (folder / "waiting").exists())
        os.kill(int((folder / "waiting").read_text()), signal.SIGTERM)
        ended = sessions.ending(process, folder)

    record = ended.record("exp_train")
    assert record["status"] == "preempted"
    assert record["error_message"].startswith("the run's process was ended from outside by SIGTERM")
    assert record["checkpoint_path"].endswith("step-4")


def test_a_run_that_uses_none_of_this_pays_nothing(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_plain="""
        import signal

        def exp_plain(runner):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert [path.name for path in runner.folder.parent.iterdir()] == ["1"]
        """,
    )

    ended = sessions.run(tmp_path, "exp_plain.py")

    assert ended.code == 0, ended.text
    assert "restored_step" not in ended.record("exp_plain")
