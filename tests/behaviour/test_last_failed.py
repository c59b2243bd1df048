"""--lf runs and judges again what failed, and nothing else; with xdist too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.behaviour import sessions

EXPERIMENT = """
    from pytest_gpuexp import criterion, experiment, grid, seeds

    pytestmark = experiment("again")

    def note(name):
        with open("ran.txt", "a") as file:
            file.write(f"{name}\\n")

    @seeds(2)
    @grid(lr=[1, 2])
    def exp_swept(runner, seed, lr):
        note(f"{lr}-{seed}")
        runner.log_metrics({"accuracy": lr / 10})
        assert (lr, seed) != BAD

    @criterion(exp_swept, over="seed")
    def crit_swept(replicates):
        assert replicates["accuracy"].mean() > LIMIT

    def exp_crash(runner):
        note("crash")
        CRASH
"""


def wrote(folder: Path, *, bad: str = "None", limit: float = 0.0, crash: str = "pass") -> Path:
    source = EXPERIMENT.replace("BAD", bad).replace("LIMIT", str(limit)).replace("CRASH", crash)
    return sessions.write(folder, exp_again=source)


def ran(folder: Path) -> list[str]:
    file = folder / "ran.txt"
    found = sorted(file.read_text().split()) if file.exists() else []
    file.unlink(missing_ok=True)
    return found


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_failed_criterion_is_judged_again_without_a_run(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    first = sessions.run(wrote(tmp_path, limit=0.15), *arguments, cache=True)
    before = ran(tmp_path)

    again = sessions.run(wrote(tmp_path, limit=0.05), *arguments, "--lf", cache=True)

    assert "FAILED exp_again.py::crit_swept[lr:1]" in first.text
    assert before == ["1-0", "1-1", "2-0", "2-1", "crash"]
    assert ran(tmp_path) == []
    assert "PASSED exp_again.py::crit_swept[lr:1]" in again.text
    assert "crit_swept[lr:2]" not in again.text.partition("short test summary")[2]
    assert (first.code, again.code) == (1, 0)


def test_failed_and_crashed_runs_are_run_again_alone(tmp_path: Path) -> None:
    first = sessions.run(wrote(tmp_path, bad="(2, 1)", crash="1 / 0"), cache=True)
    before = ran(tmp_path)

    again = sessions.run(wrote(tmp_path), "--lf", cache=True)

    assert (first.code, len(before)) == (1, 5)
    assert ran(tmp_path) == ["2-1", "crash"]
    assert again.code == 0
    assert "2 passed" in again.text
