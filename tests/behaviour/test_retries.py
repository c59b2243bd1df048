"""A run that was broken off, or ran out of memory, is attempted again in the same session."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.behaviour import sessions

EXPERIMENT = """
    import os, signal
    from pathlib import Path
    from pytest_gpuexp import experiment, seeds, tier

    pytestmark = experiment("again")

    def count(name):
        with Path(name).open("a") as file:
            file.write("x")
        return Path(name).stat().st_size

    @seeds(2)
    @tier("debug", retries=2, on={"preempted", "oom"}, or_tier="multi")
    def exp_grows(runner, seed):
        times = count(f"grows-{seed}")
        runner.log_metrics({"times": times})
        if seed == 1 and times < 3:
            raise MemoryError("no room")
        assert times

    @tier(retries=1)
    def exp_never(runner):
        count("never")
        raise MemoryError("no room at all")

    @tier(retries=3)
    def exp_fails(runner):
        count("fails")
        raise ValueError("not retried")
"""
KILLED = """
    import os, signal, time
    from pathlib import Path
    from pytest_gpuexp import experiment, seeds, tier

    pytestmark = experiment("killed")

    @seeds(6)
    @tier(retries=2, on={"preempted", "failed", "timeout"}, timeout="1s")
    def exp_killed(runner, seed):
        first = not Path(f"was-{seed}").exists()
        Path(f"was-{seed}").touch()
        if first and seed % 3 == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        if first and seed % 3 == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if first and seed == 5:
            time.sleep(60)
        assert True
"""


@pytest.mark.parametrize("how", [[], ["--backend=in-process"], ["-n", "2"]], ids=str)
def test_only_the_last_attempt_counts(tmp_path: Path, how: list[str]) -> None:
    sessions.write(tmp_path, exp_again=EXPERIMENT)

    ended = sessions.run(tmp_path, "exp_again.py", "--junitxml=j.xml", *how)

    assert ended.code == 1
    assert "2 passed, 2 errors" in ended.text
    statuses = [record["status"] for record in ended.records("exp_grows[seed:1]")]
    assert statuses == ["oom", "oom", "completed"]
    assert [record["metrics"]["times"] for record in ended.records("exp_grows[seed:1]")] == [
        1,
        2,
        3,
    ]
    assert [record["attempt"] for record in ended.records("exp_never")] == [1, 2]
    assert len(ended.records("exp_fails")) == 1
    [suite] = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert (suite.get("tests"), suite.get("errors")) == ("4", "2")
    if not how or how[0] != "-n":
        assert "exp_grows[seed:1]: attempt 2 of 3 after oom, on multi (no room)" in ended.text
        assert "exp_grows[seed:1]: attempt 3 of 3 after oom, on multi (no room)" in ended.text
        assert "[4/4]" in ended.text


def test_a_run_that_came_through_at_last_is_no_failure(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_again=EXPERIMENT)

    ended = sessions.run(tmp_path, "exp_again.py", "-x", "-k", "exp_grows", cache=True)
    last = sessions.run(tmp_path, "exp_again.py", "--lf", "--collect-only", cache=True)

    assert ended.code == 0, ended.text
    assert "2 passed" in ended.text
    assert "run-last-failure" not in last.text or "no previously failed" in last.text
    results = (tmp_path / "results/again/results.yaml").read_text()
    assert "attempt: 3" in results


def test_killed_and_late_runs_are_attempted_again_within_the_parallelism(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_killed=KILLED)

    ended = sessions.run(tmp_path, "exp_killed.py", "--parallelism=2")

    assert ended.code == 0, ended.text
    assert "6 passed" in ended.text
    found = {
        seed: [record["status"] for record in ended.records(f"exp_killed[seed:{seed}]")]
        for seed in range(6)
    }
    assert found == {
        0: ["preempted", "completed"],
        1: ["failed", "completed"],
        2: ["completed"],
        3: ["preempted", "completed"],
        4: ["failed", "completed"],
        5: ["timeout", "completed"],
    }
    assert "exp_killed[seed:0]: attempt 2 of 3 after preempted" in ended.text


def test_all_that_is_wrong_with_retries_is_told_at_once(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_wrong="""
        from pytest_gpuexp import tier

        @tier("fats", retries=-1, on={"ooom"}, or_tier="huge")
        def exp_wrong(runner):
            pass

        @tier(on="oom")
        def exp_idle(runner):
            pass
        """,
    )

    ended = sessions.run(tmp_path, "exp_wrong.py")

    assert ended.code == 2
    for told in (
        "exp_wrong: tier: 'fats' is not a tier",
        "exp_wrong: tier: retries=-1 is not a number of further attempts",
        "exp_wrong: tier: on: 'ooom' is no status to retry after (preempted, oom, timeout, failed",
        "or_tier= is asked for after an oom; add 'oom' to on=",
        "tier: or_tier: 'huge' is not a tier",
        "exp_idle: tier: on= and or_tier= say how retries go; add retries=1 or more",
    ):
        assert told in ended.text
