"""The worker's process that a session starts before it knows its runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_gpuexp.forerunner import MARK
from tests.behaviour import sessions

FINE = """
    import os
    from pathlib import Path

    with Path("imported.txt").open("a") as file:
        file.write(f"{os.getpid()}\\n")

    def exp_fine(runner):
        runner.log_metrics({"parent": os.getppid()})
        assert True
"""
WATCH = """
    import os
    from pytest_gpuexp import processes

    def pytest_collection_finish(session):
        ahead = session.config.pluginmanager.hasplugin("gpuexp-forerunner")
        workers = [pid for pid in processes.children() if is_worker(pid)]
        with open(f"seen-{os.getpid()}.txt", "w") as file:
            file.write(f"{ahead} {workers}")

    def is_worker(pid):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                return "pytest_gpuexp.worker" in file.read()
        except OSError:  # it has ended meanwhile: git, for one
            return False
"""


def program(folder: Path, text: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder,
        env=sessions.environment(**sessions.alone([])),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


def test_its_process_is_the_one_that_runs_are_forked_from(tmp_path: Path) -> None:
    ended = sessions.run(sessions.write(tmp_path, exp_fine=FINE, conftest=WATCH))

    parent = int(ended.record("exp_fine")["metrics"]["parent"])
    controller, worker = (tmp_path / "imported.txt").read_text().split()
    assert ended.code == 0, ended.text
    assert (tmp_path / f"seen-{controller}.txt").read_text() == f"True [{parent}]"
    assert int(worker) == parent


@pytest.mark.parametrize("option", ["--collect-only", "--resume", "--backend=in-process"])
def test_where_no_local_run_is_foreseen_nothing_is_sent_ahead(tmp_path: Path, option: str) -> None:
    ended = sessions.run(sessions.write(tmp_path, exp_fine=FINE, conftest=WATCH), option)

    controller = (tmp_path / "imported.txt").read_text().split()[0]
    assert ended.code == 0, ended.text
    assert (tmp_path / f"seen-{controller}.txt").read_text().startswith("False ")


@pytest.mark.parametrize("option", ["--parallelism=0", "--seeds=x", "--gpuexp-filter=("])
def test_a_wrong_option_is_refused_once_and_what_was_sent_ahead_is_ended(
    tmp_path: Path, option: str
) -> None:
    sessions.write(tmp_path, exp_a=FINE, exp_b=FINE)

    said = program(
        tmp_path,
        "import pytest\n"
        "from pytest_gpuexp import processes\n"
        f"code = pytest.main(['-p', 'no:cacheprovider', {option!r}])\n"
        "print('left', int(code), processes.children())\n",
    )

    assert said.count("ERROR: pytest-gpuexp options: ") == 1, said
    assert "collected 0 items" in said
    assert "ERROR collecting" not in said
    assert said.endswith("left 4 []\n")
    assert not (tmp_path / "imported.txt").exists()


def test_a_program_that_has_imported_us_may_call_pytest_with_warnings_as_errors(
    tmp_path: Path,
) -> None:
    sessions.write(tmp_path, exp_fine=FINE)
    known = "ignore:Module already imported so cannot be rewritten; pytest_gpuexp$"

    said = program(
        tmp_path,
        "import pytest_gpuexp.cloud, pytest\n"
        f"print('code', int(pytest.main(['-W', 'error', '-W', {known!r}])))\n",
    )

    assert said.endswith("code 0\n"), said


def test_what_bears_the_mark_of_a_worker_starts_none(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_fine=FINE)

    ended = sessions.run(tmp_path, changes={MARK: "1"})

    assert "this process is a worker of another pytest-gpuexp session" in ended.text
    assert len((tmp_path / "imported.txt").read_text().split()) == 1
