"""Runs in the session's own process: for `-s`, `--pdb` and debuggers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.behaviour import sessions

EXPERIMENT = """
import os
from pytest_gpuexp import seeds

@seeds(2)
def exp_a(runner):
    print(f"seed {runner.seed} in process {os.getpid()}")
    runner.log_metrics({"pid": os.getpid()})
    runner.results.save_artifact("note.txt", "kept")
    assert runner.seed < 2
    return {"finding": "ran here"}

def exp_b(runner):
    "Its assertion fails."
    assert runner.seed == 1
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> sessions.Ended:
    folder = sessions.write(tmp_path_factory.mktemp("shown"), exp_a=EXPERIMENT)
    return sessions.run(folder, "-s")


def test_output_comes_as_it_is_printed(shown: sessions.Ended) -> None:
    assert shown.text.index("seed 0 in process") < shown.text.index("seed 1 in process")


def test_all_runs_share_one_process_and_the_reason_is_told(shown: sessions.Ended) -> None:
    pids = {shown.record(f"exp_a[seed:{seed}]")["metrics"]["pid"] for seed in (0, 1)}

    assert len(pids) == 1
    assert (
        "backend in-process (-s shows output as it comes; no isolation, no timeouts)" in shown.text
    )


def test_results_are_kept_as_ever(shown: sessions.Ended) -> None:
    record = shown.record("exp_a[seed:1]")

    assert record["status"] == "completed"
    assert record["verdict"] == "pass"
    assert record["finding"] == "ran here"
    assert [artifact["name"] for artifact in record["artifacts"]] == ["note.txt"]
    assert (shown.run_folder("exp_a[seed:1]") / "artifacts" / "note.txt").read_text() == "kept"
    assert (shown.folder / "results" / "exp_a" / "results.yaml").exists()


def test_a_failed_assertion_is_a_failure_with_its_values(shown: sessions.Ended) -> None:
    assert shown.code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 2 passed" in shown.text
    assert "assert 0 == 1" in shown.text
    assert shown.record("exp_b")["verdict"] == "fail"


def test_a_backend_that_was_asked_for_outranks_the_reason(shown: sessions.Ended) -> None:
    ended = sessions.run(shown.folder, "-s", "--backend=local", "--collect-only")

    assert "backend local ·" in ended.text


def test_the_debugger_opens_where_a_run_fails(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_a=EXPERIMENT)

    done = subprocess.run(
        sessions.words("--pdb", "-k", "exp_b"),
        cwd=tmp_path,
        env=sessions.environment(),
        input=b"p 'seen', runner.seed\nq\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )

    text = done.stdout.decode()
    assert "backend in-process (a debugger needs the session's own process" in text
    assert "('seen', 0)" in text


def test_breakpoint_in_a_handler_is_reached_with_trace(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a="""
            def exp_a(runner):
                width = 32
                breakpoint()
                assert width
            """,
    )

    done = subprocess.run(
        sessions.words("-s"),
        cwd=tmp_path,
        env=sessions.environment(),
        input=b"p 'width is', width\nc\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )

    text = done.stdout.decode()
    assert "('width is', 32)" in text
    assert done.returncode == 0, text


def test_a_crash_is_an_error_and_the_next_run_follows(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a="""
            from pytest_gpuexp import seeds

            @seeds(2)
            def exp_a(runner):
                if runner.seed == 0:
                    raise ValueError("broken")
                assert runner.seed == 1
            """,
    )

    ended = sessions.run(tmp_path, "--backend=in-process")

    assert ended.code == pytest.ExitCode.TESTS_FAILED
    assert "1 passed, 1 error" in ended.text
    assert ended.record("exp_a[seed:0]")["status"] == "failed"
    assert ended.record("exp_a[seed:0]")["error_type"] == "ValueError"


def test_stopping_at_the_first_failure_leaves_the_rest_unrun(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a="""
            from pytest_gpuexp import seeds

            @seeds(3)
            def exp_a(runner):
                assert runner.seed == 5
            """,
    )

    ended = sessions.run(tmp_path, "--backend=in-process", "-x")

    assert len(ended.record_files()) == 1
    assert "stopping after 1 failures" in ended.text
