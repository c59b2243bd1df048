"""What goes wrong on Modal while runs are under way, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.behaviour import sessions
from tests.behaviour.modal_sessions import begin, busy, executions, run, under_way, waiting
from tests.modal_server.starting import ModalServer

pytestmark = pytest.mark.timeout(150)


def test_calls_survive_a_server_that_goes_away(deployed: ModalServer, project: Path) -> None:
    with under_way(deployed, project) as session:
        deployed.go_away(3.0)
        (project / "go").touch()
        ended = sessions.ending(session, project)

    assert ended.code == 0, ended.text
    assert executions(project) == 2


def test_a_killed_container_runs_its_attempt_again_and_is_told_to_nobody(
    deployed: ModalServer, project: Path
) -> None:
    with under_way(deployed, project) as session:
        deployed.kill(busy(deployed)[0]["task_id"])
        sessions.until(lambda: executions(project) == 3)
        (project / "go").touch()
        ended = sessions.ending(session, project)

    assert ended.code == 0, ended.text
    assert len(ended.record_files()) == 2


def test_a_spawn_whose_answer_is_lost_is_made_again_and_runs_once(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    deployed.fault("FunctionMap", status="DATA_LOSS", lost=True)

    with begin(deployed, project) as session:
        sessions.until(lambda: executions(project) >= 2)
        (project / "go").touch()
        ended = sessions.ending(session, project)

    assert ended.code == 0, ended.text
    assert executions(project) == 2


def test_a_call_that_cannot_be_asked_for_a_moment_has_not_ended(
    deployed: ModalServer, project: Path
) -> None:
    with under_way(deployed, project) as session:
        deployed.fault("FunctionGetOutputs", count=2, status="RESOURCE_EXHAUSTED")
        (project / "go").touch()
        ended = sessions.ending(session, project)

    assert ended.code == 0, ended.text
    assert executions(project) == 2


def test_a_container_out_of_memory_is_told_with_the_way_out(
    deployed: ModalServer, project: Path
) -> None:
    with under_way(deployed, project) as session:
        for container in busy(deployed):
            deployed.out_of_memory(container["task_id"])
        (project / "go").touch()
        ended = sessions.ending(session, project)

    assert ended.code == 1
    assert ended.record("exp_waits[seed:0]")["status"] == "oom"
    assert "a larger tier with --gpu" in ended.record("exp_waits[seed:0]")["error_message"]


def test_a_call_that_modal_ends_for_its_time_is_a_timeout(
    deployed: ModalServer, project: Path
) -> None:
    with under_way(deployed, project) as session:
        for container in busy(deployed):
            deployed.run_out(container["call_ids"][0])
        ended = sessions.ending(session, project)

    record = ended.record("exp_waits[seed:0]")
    assert (record["status"], record["error_type"]) == ("timeout", "FunctionTimeoutError")
    assert "Modal ended the call" in record["error_message"]
    assert ended.code == 1
    assert executions(project) == 2


def test_a_container_that_crashes_again_and_again_is_told_with_the_way_out(
    deployed: ModalServer, project: Path
) -> None:
    sessions.write(
        project,
        exp_crashing="""
            import os, signal, time
            from pathlib import Path
            from pytest_gpuexp import experiment
            pytestmark = experiment("crashing")
            def exp_takes_it_along(runner):
                snapshot = Path(f"/proc/{os.getppid()}/stat").read_text()
                os.kill(int(snapshot.rpartition(")")[2].split()[1]), signal.SIGABRT)
                time.sleep(60)
            def exp_well(runner):
                assert runner
        """,
    )

    ended = run(deployed, project)

    record = ended.record("exp_takes_it_along")
    assert record["status"] == "failed"
    assert "the container ended again and again before it could reply" in record["error_message"]
    assert "modal app logs" in record["error_message"]
    assert ended.record("exp_well")["verdict"] == "pass"
    assert ended.code == 1


def test_a_file_that_cannot_be_imported_there_is_a_crash_of_its_runs(
    deployed: ModalServer, project: Path
) -> None:
    sessions.write(
        project,
        exp_there="""
            import os
            from pytest_gpuexp import experiment
            if "MODAL_IS_REMOTE" in os.environ:
                import only_here
            pytestmark = experiment("there")
            def exp_one(runner):
                assert runner
        """,
    )

    ended = run(deployed, project)

    assert ended.code == 1
    assert ended.record("exp_one")["status"] == "failed"
    assert "only_here" in ended.record("exp_one")["error_message"]
    assert "add it to dependencies in [tool.gpuexp.modal]" in ended.text


def test_a_package_that_the_image_lacks_is_told_with_the_way_out(
    deployed: ModalServer, project: Path
) -> None:
    sessions.write(
        project,
        exp_lacks="""
            from pytest_gpuexp import experiment
            pytestmark = experiment("lacks")
            def exp_one(runner):
                import only_here
        """,
    )

    ended = run(deployed, project)

    assert ended.record("exp_one")["error_type"] == "ModuleNotFoundError"
    assert "add it to dependencies in [tool.gpuexp.modal]" in ended.text


TRAINING = """
    import time
    from pathlib import Path
    from pytest_gpuexp import experiment, tier

    pytestmark = experiment("training")
    HERE = Path({folder!r})

    @tier("debug", retries=1, on={{"failed"}})
    def exp_trains(runner):
        found = runner.restore()
        step = found.step if found else 0
        with (HERE / "executed.txt").open("a") as file:
            file.write(f"{{step}}\\n")
        while step < 40 and not (step >= 20 and found is None):
            step += 1
            runner.checkpoint({{"weights": [0.5] * step}}, step=step)
            time.sleep(0.05)
        while found is None:
            if (HERE / "crash").exists():
                raise ValueError("NaN in the weights")
            time.sleep(0.02)
        runner.log_metrics({{"steps": step}})
        assert len(found.state["weights"]) >= 20
"""


@pytest.mark.parametrize("fate", ["preempted", "killed", "crashed"])
def test_training_goes_on_in_another_container_from_its_last_checkpoint(
    deployed: ModalServer, project: Path, fate: str
) -> None:
    sessions.write(project, exp_training=TRAINING.format(folder=str(project)))

    with begin(deployed, project) as session:
        sessions.until(lambda: any(deployed.root.glob("volumes/*/**/*.step-20/manifest.json")))
        container = busy(deployed)[0]["task_id"]
        if fate == "crashed":
            (project / "crash").touch()
        else:
            (deployed.preempt if fate == "preempted" else deployed.kill)(container)
        ended = sessions.ending(session, project)

    assert ended.code == 0, ended.text
    assert (project / "executed.txt").read_text().splitlines() == ["0", "20"]
    record = ended.record("exp_trains")
    assert (record["metrics"]["steps"], record["restored_step"]) == (40, 20)
    assert record["attempt"] == (2 if fate == "crashed" else 1)
