"""The exit code says whether the session's claims hold, and why it cannot say so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.behaviour import sessions

SILENT = """
    def exp_silent(runner):
        runner.log_metrics({"loss": 1.0})
"""
ASSERTING = """
    def exp_fine(runner):
        assert 1 < 2
"""
ORDINARY = "def test_ordinary():\n    pass\n"
NOTHING = (
    "gpuexp: nothing was evaluated: no assert of a handler, no @criterion and no success_criteria"
)


def test_a_session_that_evaluates_nothing_does_not_pass(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_silent=SILENT, test_ordinary=ORDINARY)

    ended = sessions.run(tmp_path)

    assert ended.code == 1
    assert NOTHING in ended.text
    assert "2 passed" in ended.text


@pytest.mark.parametrize("way", ["--collect-only", "--dry-run", "--stub-mode"])
def test_a_session_that_is_not_meant_to_evaluate_passes(tmp_path: Path, way: str) -> None:
    ended = sessions.run(sessions.write(tmp_path, exp_silent=SILENT), way)

    assert ended.code == 0
    assert NOTHING not in ended.text


def test_runs_that_are_skipped_evaluate_nothing(tmp_path: Path) -> None:
    source = "import pytest\n\n@pytest.mark.skip(reason='later')\ndef exp_later(runner): ...\n"

    ended = sessions.run(sessions.write(tmp_path, exp_later=source))

    assert ended.code == 1
    assert NOTHING in ended.text


def test_one_assert_is_enough_to_pass(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_silent=SILENT, exp_fine=ASSERTING)

    ended = sessions.run(tmp_path)

    assert ended.code == 0
    assert NOTHING not in ended.text


def test_an_ordinary_test_that_fails_stops_no_experiment(tmp_path: Path) -> None:
    failing = "def test_ordinary():\n    assert 1 == 2\n"
    sessions.write(tmp_path, exp_fine=ASSERTING, test_ordinary=failing)

    ended = sessions.run(tmp_path)

    assert ended.code == 1
    assert "PASSED exp_fine.py::exp_fine" in ended.text
    assert "FAILED test_ordinary.py::test_ordinary" in ended.text
    assert "1 failed, 1 passed" in ended.text


MANY = """
    import os, time
    from pytest_gpuexp import criterion, experiment, seeds

    pytestmark = experiment("many")

    @seeds(40)
    def exp_many(runner, seed):
        with open("pids.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")
        if seed == 1:
            time.sleep(60)
        assert seed % 2

    @criterion(exp_many)
    def crit_many(replicates): ...
"""


@pytest.mark.parametrize(("way", "failures"), [("-x", 1), ("--maxfail=3", 3)])
def test_enough_failures_end_what_is_in_flight(tmp_path: Path, way: str, failures: int) -> None:
    sessions.write(tmp_path, exp_many=MANY)

    ended = sessions.run(tmp_path, way, "--parallelism=2")

    assert ended.code == 1
    assert f"stopping after {failures} failures" in ended.text
    assert re.search(r"gpuexp: \d running experiments? (was|were) ended", ended.text)
    assert "crit_many" not in ended.text.rpartition("short test summary info")[2]
    assert ended.record("exp_many[seed:1]")["status"] == "cancelled"
    assert len((tmp_path / "pids.txt").read_text().split()) < 20
    # conftest's process_guard sees to it that none of them is left.


def test_what_never_began_leaves_no_claim(tmp_path: Path) -> None:
    ended = sessions.run(sessions.write(tmp_path, exp_many=MANY), "-x", "--parallelism=2")

    jobs = {path.name for path in (tmp_path / "results/many/jobs").iterdir()}
    assert jobs == {path.name for path in ended.record_files()}


LOSING = """
    import dataclasses
    from pytest_gpuexp.records import ExperimentResult, Job, Outcome

    class Losing:
        name, lookahead, handle = "losing", 0, ""

        def submit(self, attempt):
            self.attempt = attempt
            return Job(key=attempt.key, backend="losing", handle="")

        def poll(self, jobs, *, timeout):
            spec = self.attempt.spec
            names = ("experiment_id", "run_id", "handler", "name", "path", "parameters", "seed")
            result = ExperimentResult(
                **{name: getattr(spec, name) for name in names},
                attempt=1, config={}, status="completed", verdict="pass", published=False,
                error_message="the bucket is gone",
            )
            return {job: Outcome(result=result) for job in jobs}

        def handles(self):
            return {}

        def running(self):
            return {}

        def cancel(self, jobs): ...

        def close(self): ...

    def pytest_gpuexp_make_backend(name, settings):
        return Losing() if name == "losing" else None
"""


def test_a_run_that_is_not_in_the_storage_lets_no_session_pass(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_fine=ASSERTING, conftest=LOSING)

    ended = sessions.run(tmp_path, "--backend=losing")

    assert ended.code == 1
    assert (
        "gpuexp: exp_fine is not in the storage, so this session does not pass: the bucket is gone"
        in ended.text
    )
    assert "1 passed" in ended.text
