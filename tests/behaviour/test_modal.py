"""Runs are sent to Modal: the real client, against a server that really runs functions."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import pytest_gpuexp
from tests.behaviour import sessions
from tests.modal_server import starting
from tests.modal_server.starting import ModalServer
from tests.servers import Server

pytestmark = pytest.mark.timeout(150)

PYPROJECT = """
[project]
name = "tried"
version = "1"

[tool.gpuexp.modal]
secrets = []
# As on Modal, where the plugin is source that nobody has installed.
env = { PYTEST_DISABLE_PLUGIN_AUTOLOAD = "1" }
"""
DIGITS = """
    from pathlib import Path
    from pytest_gpuexp import at_least, experiment, grid, seeds, tier
    from helpers.models import score

    pytestmark = experiment("digits", success_criteria={"accuracy": at_least(0.5)})

    @seeds(2)
    @grid(width=[1, 2])
    @tier("debug", timeout="5m")
    def exp_fit(runner, seed, width):
        print("seed", seed)
        runner.log_metrics({"loss": 0.5}, step=3)
        runner.results.save_artifact("plots/größe.txt", f"of seed {seed}")
        runner.results.save_artifact("large.bin", bytes(2 << 20))
        runner.log_metrics({"accuracy": score(width)})
        assert width < 3
"""
FATES = """
    import os, signal, time
    from pathlib import Path
    from pytest_gpuexp import experiment, tier

    pytestmark = experiment("fates")

    def exp_fails(runner):
        runner.log_metrics({"x": 1.0})
        print("as it should be")
        assert runner.seed > 5

    def exp_crashes(runner):
        raise ValueError("no such layer")

    def exp_dies(runner):
        os.kill(os.getpid(), signal.SIGSEGV)

    @tier("debug", timeout=1)
    def exp_hangs(runner):
        runner.log_metrics({"x": 2.0})
        time.sleep(60)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ModalServer]:
    with starting.modal_server("--preemption-grace=5", max_containers=3) as running:
        yield running


@pytest.fixture(scope="module")
def deployed(server: ModalServer, tmp_path_factory: pytest.TempPathFactory) -> ModalServer:
    """Give a server on which the app of a project called ``tried`` is deployed."""
    folder = tmp_path_factory.mktemp("deployed")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    deploy(server, folder)
    return server


def deploy(server: ModalServer, folder: Path, **environ: str) -> None:
    words = ["-m", "modal", "deploy", "-m", "pytest_gpuexp.backends.modal_app"]
    done = subprocess.run(
        [sessions.words()[0], *words],
        cwd=folder,
        env=sessions.environment(**server.environ, **environ),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    return tmp_path


def run(server: ModalServer, folder: Path, *arguments: str, **environ: str) -> sessions.Ended:
    return sessions.run(
        folder,
        "--backend=modal",
        "--parallelism=3",
        *arguments,
        changes={**server.environ, **environ},
    )


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


def test_an_app_that_is_not_deployed_is_told_with_the_command(
    server: ModalServer, project: Path
) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT.replace("tried", "untried"))
    sessions.write(project, exp_digits=FATES)

    ended = run(server, project)

    assert ended.code == 4
    assert "Modal app not deployed: there is no 'gpuexp-untried'" in ended.text
    assert "gpuexp deploy" in ended.text
    assert not ended.record_files()


def test_an_app_of_another_python_is_refused_before_anything_is_paid_for(
    server: ModalServer, project: Path
) -> None:
    named = PYPROJECT.replace("tried", "older").replace("secrets", 'python = "3.14"\nsecrets')
    (project / "pyproject.toml").write_text(named)
    deploy(server, project)
    sessions.write(project, exp_digits=FATES)
    before = len(server.calls())

    ended = run(server, project)

    assert ended.code == 4
    assert "of another pytest-gpuexp or another Python" in ended.text
    assert len(server.calls()) == before


def test_an_app_deployed_before_an_edit_of_the_plugin_is_refused(
    server: ModalServer, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT.replace("tried", "edited"))
    source = tmp_path_factory.mktemp("source") / "pytest_gpuexp"
    shutil.copytree(Path(pytest_gpuexp.__file__).parent, source)
    with (source / "backends/smoke.py").open("a") as file:
        file.write("# as it was\n")
    deploy(server, project, PYTHONPATH=str(source.parent))
    sessions.write(project, exp_digits=FATES)
    before = len(server.calls())

    ended = run(server, project)

    assert ended.code == 4
    assert "the source of pytest-gpuexp has changed since" in ended.text
    assert "gpuexp deploy" in ended.text
    assert len(server.calls()) == before


def test_a_wrong_token_is_told(deployed: ModalServer, project: Path) -> None:
    sessions.write(project, exp_digits=FATES)

    ended = run(deployed, project, MODAL_TOKEN_SECRET="as-wrong")

    assert ended.code == 4
    assert "Modal refused the token" in ended.text
    assert "modal token new" in ended.text
    assert "as-wrong" not in ended.text


def test_a_server_that_nobody_reaches_is_told_at_once(deployed: ModalServer, project: Path) -> None:
    sessions.write(project, exp_digits=FATES)

    ended = run(deployed, project, MODAL_SERVER_URL="http://127.0.0.1:1")

    assert ended.code == 4
    assert "Modal cannot be reached at http://127.0.0.1:1" in ended.text


def test_a_file_that_git_ignores_is_missed_before_anything_runs(
    deployed: ModalServer, project: Path
) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    (project / ".gitignore").write_text("exp_digits.py\n")
    sessions.write(project, exp_digits=FATES)

    ended = run(deployed, project)

    assert ended.code == 4
    assert "exp_digits.py would not travel to Modal: git ignores it" in ended.text


def test_secrets_and_results_stay_at_home(deployed: ModalServer, project: Path) -> None:
    (project / ".env").write_text("TOKEN=4711-secret")
    (project / "results").mkdir()
    (project / "results/old.txt").write_text("old")
    sessions.write(
        project,
        exp_seen="""
            import os
            from pathlib import Path
            from pytest_gpuexp import experiment
            pytestmark = experiment("seen")
            def exp_files(runner):
                here = Path(__file__).parent
                print(sorted(p.relative_to(here).as_posix() for p in here.rglob("*")))
                assert not (here / ".env").exists()
                assert not (here / "results").exists()
                assert (here / "pyproject.toml").exists()
        """,
    )

    ended = run(deployed, project)

    assert ended.record("exp_files")["verdict"] == "pass", ended.log("exp_files")


WAITING = """
    import time
    from pathlib import Path
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("waiting")
    HERE = Path({folder!r})

    @seeds(2)
    def exp_waits(runner, seed):
        with (HERE / "executed.txt").open("a") as file:
            file.write(f"{{seed}}\\n")
        print("begun", flush=True)
        runner.log_metrics({{"x": 1.0}})
        while not (HERE / "go").exists():
            time.sleep(0.02)
        assert seed >= 0
"""


def waiting(project: Path) -> None:
    sessions.write(project, exp_waiting=WAITING.format(folder=str(project)))


def executed(project: Path, count: int) -> bool:
    file = project / "executed.txt"
    return file.exists() and len(file.read_text().splitlines()) >= count


def begin(server: ModalServer, project: Path, *arguments: str) -> Any:
    return sessions.started(
        project, "--backend=modal", "--parallelism=3", *arguments, changes=server.environ
    )


def test_calls_survive_a_server_that_goes_away(deployed: ModalServer, project: Path) -> None:
    waiting(project)

    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        deployed.go_away(3.0)
        (project / "go").touch()
        ended = sessions.ending(session, project)

    assert ended.code == 0, ended.text
    assert len((project / "executed.txt").read_text().splitlines()) == 2


def test_a_killed_container_runs_its_attempt_again_and_is_told_to_nobody(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)

    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        deployed.kill(busy(deployed)[0]["task_id"])
        sessions.until(lambda: executed(project, 3))
        (project / "go").touch()
        ended = sessions.ending(session, project)

    assert ended.code == 0, ended.text
    assert len(ended.record_files()) == 2


def busy(server: ModalServer) -> list[dict[str, Any]]:
    return [one for one in server.containers() if one["call_ids"]]


def test_an_interrupted_session_that_nobody_answers_says_what_may_go_on(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)

    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        deployed.go_away(10.0)
        os.kill(session.pid, signal.SIGINT)
        ended = sessions.ending(session, project)
    (project / "go").touch()
    resumed = run_when_back(deployed, project, "--resume")

    assert ended.code == 2
    assert "they may go on there, and pytest --resume collects what they give" in ended.text
    assert resumed.code == 0, resumed.text
    assert len((project / "executed.txt").read_text().splitlines()) == 2


def run_when_back(server: ModalServer, folder: Path, *arguments: str) -> sessions.Ended:
    def answers() -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", server.port), 1).close()
            return True
        return False

    sessions.until(answers)
    return run(server, folder, *arguments)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_session_ends_its_containers_and_says_how_many(
    deployed: ModalServer, project: Path, number: int
) -> None:
    waiting(project)

    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        started = time.monotonic()
        os.kill(session.pid, number)
        ended = sessions.ending(session, project)
        took = time.monotonic() - started

    assert ended.code == 2
    assert "2 running experiments were ended" in ended.text
    assert {one["status"] for one in ended.records("exp_waits[seed:0]")} == {"cancelled"}
    assert took < 30  # it takes 3 s on two cores with nine processes on them
    sessions.until(lambda: not busy(deployed))


def test_a_spawn_whose_answer_is_lost_is_made_again_and_runs_once(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    deployed.fault("FunctionMap", status="DATA_LOSS", lost=True)

    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        (project / "go").touch()
        ended = sessions.ending(session, project)

    assert ended.code == 0, ended.text
    assert len((project / "executed.txt").read_text().splitlines()) == 2


def test_a_call_that_the_session_never_heard_of_is_ended_with_it(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    before = len(deployed.calls())
    deployed.scale(2)  # what is spawned again waits, and does not learn who has its claim
    deployed.fault("FunctionMap", count=2, status="DATA_LOSS", lost=True)

    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        sessions.until(lambda: len(deployed.calls()) == before + 4)
        os.kill(session.pid, signal.SIGINT)
        ended = sessions.ending(session, project)
    deployed.scale(3)

    assert ended.code == 2
    assert "2 running experiments were ended" in ended.text
    sessions.until(lambda: not busy(deployed))


def test_the_log_and_the_metrics_of_a_run_are_here_while_it_runs(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)

    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
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


def test_a_killed_session_s_runs_are_taken_over_and_none_is_run_twice(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        session.kill()

    (project / "go").touch()
    ended = run(deployed, project, "--resume")

    assert ended.code == 0, ended.text
    assert "2 taken over, begun " in ended.text
    assert len((project / "executed.txt").read_text().splitlines()) == 2
    assert [one["attempt"] for one in ended.records("exp_waits[seed:0]")] == [1]


def test_what_runs_old_code_is_not_taken_for_a_result_of_the_new(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        session.kill()
    source = (project / "exp_waiting.py").read_text()
    (project / "exp_waiting.py").write_text(source.replace('"x": 1.0', '"x": 2.0'))

    (project / "go").touch()
    ended = run(deployed, project, "--resume")

    assert ended.code == 0, ended.text
    assert ended.record("exp_waits[seed:0]")["metrics"] == {"x": 2.0}


def test_a_call_that_cannot_be_asked_for_a_moment_has_not_ended(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)

    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        deployed.fault("FunctionGetOutputs", count=2, status="RESOURCE_EXHAUSTED")
        (project / "go").touch()
        ended = sessions.ending(session, project)

    assert ended.code == 0, ended.text
    assert len((project / "executed.txt").read_text().splitlines()) == 2


def test_a_session_whose_terminal_closes_leaves_its_runs_to_the_next(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        session.send_signal(signal.SIGHUP)
        session.wait(20)
        running = len(busy(deployed))
        (project / "go").touch()

    ended = run(deployed, project, "--resume")

    assert running == 2
    assert ended.code == 0, ended.text
    assert len((project / "executed.txt").read_text().splitlines()) == 2


def test_a_call_whose_id_was_never_written_down_is_found_by_its_claim(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        session.kill()
    for job in project.glob("results/waiting/jobs/*.yaml"):
        job.write_text(re.sub(r":fc-\w+", "", job.read_text()))

    (project / "go").touch()
    ended = run(deployed, project, "--resume")

    assert ended.code == 0, ended.text
    assert len((project / "executed.txt").read_text().splitlines()) == 2


def test_an_intent_that_never_became_a_call_is_run_now(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    (project / "go").touch()
    first = run(deployed, project)
    for record in first.record_files():
        record.unlink()
    for job in project.glob("results/waiting/jobs/*.yaml"):
        job.write_text(re.sub(r"handle: .*", 'handle: "never-spawned"', job.read_text()))

    ended = run(deployed, project, "--resume")

    assert ended.code == 0, ended.text
    assert len((project / "executed.txt").read_text().splitlines()) == 4


def test_a_result_that_modal_keeps_no_longer_is_run_again(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    (project / "go").touch()
    first = run(deployed, project)
    for record in first.record_files():
        record.unlink()
    for job in project.glob("results/waiting/jobs/*.yaml"):
        found = re.search(r"fc-\w+", job.read_text())
        assert found
        deployed.expire(found[0])

    ended = run(deployed, project, "--resume")

    assert ended.code == 0, ended.text
    assert "exp_waits[seed:0] runs again: Modal keeps results for 7 days" in ended.text
    assert [one["status"] for one in ended.records("exp_waits[seed:0]")] == ["lost", "completed"]


def test_detached_runs_go_on_alone_and_are_collected(deployed: ModalServer, project: Path) -> None:
    waiting(project)

    left = run(deployed, project, "--detach")
    (project / "go").touch()
    ended = run(deployed, project, "--resume")

    assert left.code == 0, left.text
    assert "2 runs are on Modal, without this session" in left.text
    assert ended.code == 0, ended.text
    assert "2 taken over" in ended.text
    assert len((project / "executed.txt").read_text().splitlines()) == 2
    variants = deployed.journal("variant")
    assert variants[-1]["max_containers"] == 3


def test_runs_that_may_cost_too_much_are_refused(deployed: ModalServer, project: Path) -> None:
    waiting(project)
    before = len(deployed.calls())

    ended = run(deployed, project, "--detach", "--budget=1.00")

    assert ended.code == 4
    assert "these runs may cost $1.10, each at its time limit" in ended.text
    assert len(deployed.calls()) == before


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


def test_what_only_modal_can_do_is_refused_elsewhere(project: Path) -> None:
    waiting(project)

    ended = sessions.run(project, "--detach", "--modal-ephemeral", "--budget=much")

    assert ended.code == 4
    assert "3 problems" in ended.text
    assert "--detach speaks of runs on Modal; add --backend=modal" in ended.text


def test_a_container_out_of_memory_is_told_with_the_way_out(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)

    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
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
    waiting(project)

    with begin(deployed, project) as session:
        sessions.until(lambda: executed(project, 2))
        for container in busy(deployed):
            deployed.run_out(container["call_ids"][0])
        ended = sessions.ending(session, project)

    record = ended.record("exp_waits[seed:0]")
    assert (record["status"], record["error_type"]) == ("timeout", "FunctionTimeoutError")
    assert "Modal ended the call" in record["error_message"]
    assert ended.code == 1
    assert len((project / "executed.txt").read_text().splitlines()) == 2


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
    assert "Add it to dependencies in [tool.gpuexp.modal]" in ended.text


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
    assert "Add it to dependencies in [tool.gpuexp.modal]" in ended.text


def test_a_bucket_takes_the_runs_that_modal_ran(
    deployed: ModalServer, project: Path, moto: Server
) -> None:
    sessions.write(
        project, exp_digits=DIGITS.replace("from helpers.models import score", "score = float")
    )

    ended = run(deployed, project, "--storage=s3://experiments/modal", **moto.environ())

    assert ended.code == 0, ended.text
    names = moto.keys("modal/digits/records/")
    assert len(names) == 4


LEAVING = """
    import time
    from pathlib import Path
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("leaving")
    HERE = Path({folder!r})

    @seeds(2)
    def exp_leaves(runner, seed):
        with (HERE / "executed.txt").open("a") as file:
            file.write(f"{{seed}}\\n")
        if not seed:
            runner.results.save_artifact("large.bin", bytes(2 << 20))
        while seed and not (HERE / "go").exists():
            time.sleep(0.02)
        assert seed >= 0
"""


def test_a_file_that_is_slow_to_come_keeps_neither_other_runs_nor_an_interrupted_session(
    deployed: ModalServer, project: Path
) -> None:
    sessions.write(project, exp_leaving=LEAVING.format(folder=str(project)))
    records = project / "results/leaving/records"
    deployed.fault("VolumeGetFile2", delay=60)

    with begin(deployed, project) as session:
        sessions.until(lambda: any(deployed.root.glob("volumes/*/spool/*/leaving/**/large.bin")))
        (project / "go").touch()
        sessions.until(lambda: any(records.glob("*.yaml")))
        os.kill(session.pid, signal.SIGINT)
        left = sessions.ending(session, project)
    ended = run(deployed, project, "--resume")

    assert left.code == 2
    assert "did not end in time and have no record" in left.text
    assert ended.code == 0, ended.text
    assert ended.record("exp_leaves[seed:0]")["verdict"] == "pass"
    assert (
        ended.run_folder("exp_leaves[seed:0]") / "artifacts/large.bin"
    ).stat().st_size == 2 << 20
    assert len((project / "executed.txt").read_text().splitlines()) == 2


def test_with_xdist_every_run_is_a_call_once(deployed: ModalServer, project: Path) -> None:
    waiting(project)
    (project / "go").touch()

    ended = run(deployed, project, "-n", "2")

    assert ended.code == 0, ended.text
    assert len((project / "executed.txt").read_text().splitlines()) == 2
    assert len(ended.record_files()) == 2


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


def test_a_volume_takes_the_runs_that_modal_ran(deployed: ModalServer, project: Path) -> None:
    sessions.write(
        project, exp_digits=DIGITS.replace("from helpers.models import score", "score = float")
    )

    first = run(deployed, project, "--storage=modal://foresight-results/sweeps")
    again = run(deployed, project, "--storage=modal://foresight-results/sweeps", "--resume")

    assert first.code == again.code == 0, again.text
    assert "4 of 4 runs kept" in again.text
    (volume,) = deployed.root.glob("volumes/*/sweeps/digits")
    assert len(list((volume / "records").glob("*.yaml"))) == 4
    assert (volume / "results.yaml").exists()
