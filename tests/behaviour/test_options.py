"""What options come to: command line before environment before ini, and hooks beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.behaviour import sessions

HANDLER = "def exp_a(runner):\n    assert True\n"


def plan(folder: Path, *arguments: str, **changes: str) -> str:
    """Return the output of a session that shows its plan, with the facts of the session."""
    ended = sessions.run(folder, "--collect-only", *arguments, changes=changes)
    assert ended.code == 0, ended.text
    return ended.text


def test_the_command_line_outranks_the_environment_that_outranks_the_ini(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a=HANDLER,
        tox="[pytest]\ngpuexp_parallelism = 3\ngpuexp_storage = from-ini\ngpuexp_gpu = debug\n",
    )
    environment = {
        "PYTEST_GPUEXP_PARALLELISM": "5",
        "PYTEST_GPUEXP_ISOLATION": "spawn",
        "PYTEST_GPUEXP_STORAGE": "from-environment",
    }

    shown = plan(tmp_path, "--storage=from-option", **environment)

    assert "isolation spawn · parallelism 5" in shown
    assert "storage from-option" in shown


def test_every_valued_option_has_an_environment_variable(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a=HANDLER,
        conftest="""
            def pytest_gpuexp_plan_made(plan):
                [spec] = plan["exp_a"]
                print("told", spec.tier, spec.gpus, spec.timeout_seconds)
            """,
    )

    ended = sessions.run(
        tmp_path,
        "--dry-run",
        "-s",
        changes={
            "PYTEST_GPUEXP_BACKEND": "local",
            "PYTEST_GPUEXP_GPU": "L40S:2",
            "PYTEST_GPUEXP_RUN_TIMEOUT": "1h30m",
            "PYTEST_GPUEXP_STORAGE": "elsewhere",
            "PYTEST_GPUEXP_ISOLATION": "spawn",
        },
    )

    assert ended.code == 0, ended.text
    assert "backend local" in ended.text
    assert "isolation spawn" in ended.text
    assert "storage elsewhere" in ended.text
    assert "told L40S:2 2 5400.0" in ended.text


def test_wrong_values_are_told_all_at_once_before_anything_runs(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_a=HANDLER, test_a="def test_a():\n    pass\n")

    ended = sessions.run(
        tmp_path,
        *["--parallelism=none", "--run-timeout=soon", "--gpu=fats", "--seeds=x"],
        changes={"PYTEST_GPUEXP_ISOLATION": "thread"},
    )

    assert ended.code == pytest.ExitCode.USAGE_ERROR
    flat = " ".join(ended.text.split())
    assert "pytest-gpuexp options: 5 problems:" in flat
    for problem in (
        "parallelism: 'none' is not a number above 0 or 'auto'",
        "isolation: 'thread' is not auto, fork or spawn",
        "run-timeout: 'soon' is not a duration such as 90, 45s, 10m, 1h30m",
        "gpu: 'fats' is not a tier (debug, fast, h100, multi, standard) and not a GPU such as "
        "L40S or H200:4, did you mean 'fast'?",
        "--seeds x: not a count; for single seeds write --seed 0 --seed 7",
    ):
        assert problem in flat
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (
            "--backend=slurm",
            "backend 'slurm' is not known here: there are local, in-process and modal. Offer "
            "others by the hook pytest_gpuexp_make_backend in a conftest.py or a plugin.",
        ),
        (
            "--storage=gs://bucket",
            "storage 'gs://bucket' is not known here. Use a folder, as --storage=results, or "
            "offer the storage by the hook pytest_gpuexp_make_storage.",
        ),
    ],
)
def test_places_that_are_not_there_are_refused_with_those_that_are(
    tmp_path: Path, option: str, told: str
) -> None:
    sessions.write(tmp_path, exp_a=HANDLER, test_a="def test_a():\n    pass\n")

    ended = sessions.run(tmp_path, option)

    assert ended.code == pytest.ExitCode.USAGE_ERROR
    assert told in " ".join(ended.text.split())
    assert "passed" not in ended.text
    assert not (tmp_path / "results").exists()


OWN_PLACES = """
from pytest_gpuexp import ExperimentResult, Outcome
from pytest_gpuexp.records import Job
from pytest_gpuexp.storage.local import LocalStorage

class Pretending:
    name = "pretending"
    lookahead = 0
    handle = "42"

    def __init__(self):
        self.attempts = {}

    def submit(self, attempt):
        self.attempts[attempt.key] = attempt
        return Job(key=attempt.key, backend=self.name, handle="")

    def poll(self, jobs, *, timeout):
        return {job: self.outcome(self.attempts.pop(job.key)) for job in list(jobs)}

    def outcome(self, attempt):
        spec = attempt.spec
        result = ExperimentResult(
            experiment_id=spec.experiment_id, run_id=spec.run_id, attempt=attempt.number,
            handler=spec.handler, name=spec.name, path=spec.path, status="completed",
            verdict="pass", config={}, parameters=spec.parameters, seed=spec.seed,
            metrics={"accuracy": 0.5},
        )
        return Outcome(result=result)

    def handles(self):
        return {}

    def running(self):
        return {}

    def cancel(self, jobs):
        pass

    def close(self):
        print("closed")


def pytest_gpuexp_make_backend(name, settings):
    if name == "pretending":
        return Pretending()


def pytest_gpuexp_make_storage(url, settings):
    if url.startswith("shelf://"):
        return LocalStorage(settings.invocation_dir / "shelf" / url.removeprefix("shelf://"))
"""


def test_a_conftest_may_bring_a_backend_and_a_storage(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_a=HANDLER, conftest=OWN_PLACES)

    ended = sessions.run(tmp_path, "--backend=pretending", "--storage=shelf://top", "-s")

    assert ended.code == 0, ended.text
    assert "backend pretending" in ended.text
    assert "closed" in ended.text
    report = (tmp_path / "shelf" / "top" / "exp_a" / "results.yaml").read_text()
    assert "accuracy" in report
    assert not (tmp_path / "results").exists()


def test_hooks_are_told_of_plan_runs_and_end(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a=HANDLER,
        conftest="""
            from pathlib import Path

            told = []

            def pytest_gpuexp_plan_made(plan):
                told.append(f"plan {[spec.name for spec in plan['exp_a']]}")

            def pytest_gpuexp_run_finished(outcome):
                told.append(f"run {outcome.result.name} {outcome.result.status}")

            def pytest_gpuexp_stage_finished(report):
                told.append(f"stage {report.experiment.experiment_id}")

            def pytest_unconfigure():
                if told:
                    Path("told.txt").write_text("\\n".join(told))
            """,
    )

    sessions.run(tmp_path)

    assert (tmp_path / "told.txt").read_text().splitlines() == [
        "plan ['exp_a']",
        "run exp_a completed",
        "stage exp_a",
    ]


def test_a_run_that_asks_for_more_gpus_than_there_are_is_refused(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a="""
            from pytest_gpuexp import tier
            @tier("multi")
            def exp_a(runner): ...
            """,
    )

    ended = sessions.run(tmp_path, changes={"CUDA_VISIBLE_DEVICES": "3"})

    assert ended.code == pytest.ExitCode.USAGE_ERROR
    assert (
        "exp_a.py::exp_a asks for 2 GPUs (tier multi) and 1 are visible; choose another --gpu, or "
        "show more with CUDA_VISIBLE_DEVICES" in " ".join(ended.text.split())
    )
    assert not (tmp_path / "results").exists()
