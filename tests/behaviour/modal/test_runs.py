"""Runs are sent to Modal: the real client, against a server that really runs functions."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.behaviour import sessions
from tests.behaviour.modal_sessions import (
    DIGITS,
    FATES,
    PYPROJECT,
    executions,
    run,
    under_way,
    waiting,
)
from tests.modal_server.starting import ModalServer

pytestmark = pytest.mark.timeout(150)


def test_runs_come_back_with_all_that_they_leave(deployed: ModalServer, project: Path) -> None:
    sessions.write(project, exp_digits=DIGITS)
    (project / "helpers").mkdir()
    (project / "helpers/models.py").write_text("def score(width): return width / 2")

    ended = run(deployed, project)

    assert ended.code == 0, ended.text
    assert len(ended.record_files()) == 4
    record = ended.record("exp_fit[width:2-seed:1]")
    assert (record["status"], record["verdict"]) == ("completed", "pass")
    assert record["metrics"] == {"loss": 0.5, "accuracy": 1.0}
    assert record["provenance"]["packages"]["pytest"] == pytest.__version__
    assert "--backend=modal" in record["provenance"]["command_line"]
    assert {one["name"] for one in record["artifacts"]} == {"plots/größe.txt", "large.bin"}
    folder = ended.run_folder("exp_fit[width:2-seed:1]")
    assert (folder / "artifacts/plots/größe.txt").read_text() == "of seed 1"
    assert (folder / "artifacts/large.bin").read_bytes() == bytes(2 << 20)
    assert '"loss": 0.5' in (folder / "metrics.jsonl").read_text()
    assert ended.log("exp_fit[width:2-seed:1]") == "seed 1\n"
    results = yaml.safe_load((project / "results/digits/results.yaml").read_text())
    assert results["assessment"]["success_criteria_met"] is True


def test_an_edit_needs_no_new_deployment_and_a_sibling_file_no_new_bundle(
    deployed: ModalServer, project: Path
) -> None:
    source = """
        from pytest_gpuexp import experiment
        pytestmark = experiment("edited")
        def exp_one(runner):
            runner.log_metrics({"x": 1.0})
            assert runner
    """
    sessions.write(project, exp_edited=source)

    first = run(deployed, project)
    sent = luggage(deployed)
    run(deployed, project)
    again = luggage(deployed)
    sessions.write(project, exp_edited=source.replace("1.0", "2.0"))
    edited = run(deployed, project)

    assert first.code == edited.code == 0, edited.text
    assert again == sent
    assert len(luggage(deployed)) == len(sent) + 2  # the code, and the session that names it
    assert edited.record("exp_one")["metrics"] == {"x": 2.0}


def luggage(server: ModalServer) -> set[str]:
    """Return what sessions have sent ahead to the results volume."""
    return {path.name for path in server.root.glob("volumes/*/.gpuexp/*") if path.is_file()}


def test_each_way_to_end_has_its_name(deployed: ModalServer, project: Path) -> None:
    sessions.write(project, exp_fates=FATES)

    ended = run(deployed, project)

    told = {
        name: (ended.record(name)["status"], ended.record(name)["verdict"])
        for name in ("exp_fails", "exp_crashes", "exp_dies", "exp_hangs")
    }
    assert told == {
        "exp_fails": ("completed", "fail"),
        "exp_crashes": ("failed", "not_evaluated"),
        "exp_dies": ("failed", "not_evaluated"),
        "exp_hangs": ("timeout", "not_evaluated"),
    }
    assert ended.code == 1
    assert "as it should be" in ended.text
    assert "ValueError: no such layer" in ended.text
    assert "SIGSEGV" in ended.record("exp_dies")["error_message"]
    assert ended.record("exp_hangs")["metrics"] == {"x": 2.0}
    assert ended.record("exp_fails")["metrics"] == {"x": 1.0}


def test_tiers_gpus_and_time_limits_are_asked_for(deployed: ModalServer, project: Path) -> None:
    sessions.write(
        project,
        exp_tiers="""
            from pytest_gpuexp import experiment, tier
            pytestmark = experiment("tiers")
            def exp_any(runner): assert runner
            @tier("multi")
            def exp_multi(runner): assert runner
            @tier("fast", timeout="5m")
            def exp_fast(runner): assert runner
        """,
    )
    before = len(deployed.journal())

    by_tier = run(deployed, project)
    overridden = run(deployed, project, "--gpu=L40S:2")

    assert by_tier.code == overridden.code == 0, overridden.text
    called = {one["function_id"] for one in deployed.journal()[before:] if one["event"] == "call"}
    told = [one for one in deployed.journal() if one["event"] in ("function", "variant")]
    found = {
        (one["name"], one["gpu"], one["timeout"]) for one in told if one["function_id"] in called
    }
    assert {
        ("modal_execute_task", "A10", 1920),
        ("modal_execute_task_multi", "A100-40GB:2", 7320),
        ("modal_execute_task_fast", "A100-40GB", 420),
        ("modal_execute_task", "L40S:2", 3720),
    } <= found, found


def test_the_log_and_the_metrics_of_a_run_are_here_while_it_runs(
    deployed: ModalServer, project: Path
) -> None:
    with under_way(deployed, project) as session:
        sessions.until(
            lambda: any(
                "begun" in log.read_text() for log in project.glob("results/*/runs/*/*/log.txt")
            )
        )
        sessions.until(
            lambda: any(
                '"x": 1.0' in log.read_text()
                for log in project.glob("results/*/runs/*/*/metrics.jsonl")
            )
        )
        (project / "go").touch()
        ended = sessions.ending(session, project)

    assert ended.log("exp_waits[seed:0]") == "begun\n"


def test_an_app_of_the_session_s_own_needs_no_deployment(
    server: ModalServer, project: Path
) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT.replace("tried", "fleeting"))
    waiting(project)
    (project / "go").touch()

    ended = run(server, project, "--modal-ephemeral")

    assert ended.code == 0, ended.text
    assert len(ended.record_files()) == 2


def test_an_app_of_the_session_s_own_takes_any_gpu(server: ModalServer, project: Path) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT.replace("tried", "fleeting"))
    waiting(project)
    (project / "go").touch()

    ended = run(server, project, "--modal-ephemeral", "--gpu=L40S")

    assert ended.code == 0, ended.text
    called = {one["function_id"] for one in server.journal("call")}
    variants = [one for one in server.journal("variant") if one["function_id"] in called]
    assert (variants[-1]["name"], variants[-1]["gpu"]) == ("modal_execute_task", "L40S")


def test_with_xdist_every_run_is_a_call_once(deployed: ModalServer, project: Path) -> None:
    waiting(project)
    (project / "go").touch()

    ended = run(deployed, project, "-n", "2")

    assert ended.code == 0, ended.text
    assert executions(project) == 2
    assert len(ended.record_files()) == 2
