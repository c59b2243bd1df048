"""What keeps a session from Modal is told before anything runs there or costs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import pytest_gpuexp
from tests.behaviour import sessions
from tests.behaviour.modal_sessions import FATES, PYPROJECT, deploy, run, waiting
from tests.modal_server.starting import ModalServer

pytestmark = pytest.mark.timeout(150)


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


def test_runs_that_may_cost_too_much_are_refused(deployed: ModalServer, project: Path) -> None:
    waiting(project)
    before = len(deployed.calls())

    ended = run(deployed, project, "--detach", "--budget=1.00")

    assert ended.code == 4
    assert "these runs may cost $1.10, each at its time limit" in ended.text
    assert len(deployed.calls()) == before


def test_what_only_modal_can_do_is_refused_elsewhere(project: Path) -> None:
    waiting(project)

    ended = sessions.run(project, "--detach", "--modal-ephemeral", "--budget=much")

    assert ended.code == 4
    assert "3 problems" in ended.text
    assert "--detach speaks of runs on Modal; add --backend=modal" in ended.text
