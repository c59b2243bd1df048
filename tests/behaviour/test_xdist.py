"""With pytest-xdist every run happens once, and the controller judges once, after all."""

from __future__ import annotations

import re
import signal
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.behaviour import sessions
from tests.behaviour.sessions import Ended

SOURCE = """
    import os
    import time

    from pytest_gpuexp import at_least, criterion, experiment, grid, seeds

    pytestmark = experiment("shared", success_criteria={"acc": at_least(0.15)})

    with open(f"imported-{os.getpid()}.txt", "w"):
        pass

    @seeds(4)
    @grid(lr=[1, 2])
    def exp_shared(runner, seed, lr):
        token = os.environ["CUDA_VISIBLE_DEVICES"]
        begun = time.monotonic()
        time.sleep(0.05)  # so that runs overlap
        with open("ran.txt", "a") as file:
            print(lr, seed, token, begun, time.monotonic(), sep="\\t", file=file)
        runner.log_metrics({"acc": lr / 10})
        assert seed < 3

    def exp_crash(runner):
        raise ValueError("broken")

    @criterion(exp_shared, over="seed")
    def crit_shared(replicates):
        with open("judged.txt", "a") as file:
            print(os.environ.get("PYTEST_XDIST_WORKER", "controller"), file=file)
        assert replicates["acc"].mean() > 0.15
"""
ORDINARY = """
    import os
    import pytest

    @pytest.mark.parametrize("number", range(6))
    def test_ordinary(number):
        with open("ordinary.txt", "a") as file:
            print(number, os.environ["PYTEST_XDIST_WORKER"], file=file)
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("xdist")
    sessions.write(folder, exp_shared=SOURCE, test_ordinary=ORDINARY)
    return sessions.run(folder, "-n", "2", changes={"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"})


def ran(folder: Path) -> list[list[str]]:
    return [line.split("\t") for line in (folder / "ran.txt").read_text().splitlines()]


def test_every_run_happens_once(ended: Ended) -> None:
    counted = Counter((lr, seed) for lr, seed, *_ in ran(ended.folder))

    assert counted == {(lr, seed): 1 for lr in "12" for seed in "0123"}
    assert len(ended.record_files()) == 9


def test_workers_lease_the_same_gpus_to_one_run_at_a_time(ended: Ended) -> None:
    spans: dict[str, list[tuple[float, float]]] = {}
    for _, _, token, begun, done in ran(ended.folder):
        spans.setdefault(token, []).append((float(begun), float(done)))

    assert set(spans) <= {"GPU-a", "GPU-b"}
    for held in spans.values():
        held.sort()
        assert all(one[1] <= other[0] for one, other in pairwise(held))


def test_criteria_are_judged_once_on_the_controller(ended: Ended) -> None:
    assert (ended.folder / "judged.txt").read_text().split() == ["controller"] * 2
    assert ended.text.count("FAILED exp_shared.py::crit_shared[lr:1]") == 1
    assert "PASSED exp_shared.py::crit_shared[lr:2]" in ended.text
    assert "PASSED exp_shared.py::success_criteria" in ended.text


def test_reports_tell_verdicts_from_crashes(ended: Ended) -> None:
    assert "ERROR exp_shared.py::exp_crash" in ended.text
    assert "3 failed, 14 passed, 1 error" in ended.text
    assert ended.code == 1


def test_the_report_and_the_closing_table_are_complete(ended: Ended) -> None:
    report = yaml.safe_load((ended.folder / "results/shared/results.yaml").read_bytes())
    variants = report["results"]["experiments"]["exp_shared"]["variants"]

    assert [len(variant["runs"]) for variant in variants] == [4, 4]
    assert {one["name"]: one["verdict"] for one in report["criteria"]} == {
        "crit_shared[lr:1]": "fail",
        "crit_shared[lr:2]": "pass",
    }
    assert report["recommendation"] == "investigate"
    assert "results/shared/results.yaml" in ended.text
    assert re.search(r"exp_shared\[lr:2\] +4/4", ended.text)


def test_nothing_is_said_twice_nor_planned_when_all_has_run(ended: Ended) -> None:
    assert "9 runs =" not in ended.text
    assert "collected" not in ended.text


def test_ordinary_tests_are_distributed_as_ever(ended: Ended) -> None:
    lines = [line.split() for line in (ended.folder / "ordinary.txt").read_text().splitlines()]

    assert sorted(number for number, _ in lines) == list("012345")
    assert {worker for _, worker in lines} <= {"gw0", "gw1"}


def test_without_experiments_nothing_of_ours_is_imported(tmp_path: Path) -> None:
    conftest = """
        import sys

        def pytest_unconfigure(config):
            ours = [name for name in sys.modules if name.startswith("pytest_gpuexp.")]
            with open("modules.txt", "a") as file:
                print(hasattr(config, "workerinput"), *ours, sep="\\n", file=file)
    """
    sessions.write(tmp_path, test_ordinary=ORDINARY, conftest=conftest)

    ended = sessions.run(tmp_path, "-n", "2")

    loaded = set((tmp_path / "modules.txt").read_text().split())
    assert ended.code == 0
    assert {"True", "False", "pytest_gpuexp.plugin"} <= loaded
    assert not loaded & {f"pytest_gpuexp.{name}" for name in ("session", "collection", "places")}


def test_n_0_is_no_distribution(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_shared=SOURCE)

    ended = sessions.run(tmp_path, "-n", "0", "-k", "seed:0")

    assert "shared: 2 runs =" in ended.text
    assert len(ran(tmp_path)) == 2


def test_a_session_that_evaluates_nothing_does_not_pass_either(tmp_path: Path) -> None:
    source = "def exp_silent(runner):\n    runner.log_metrics({'loss': 1})\n"

    ended = sessions.run(sessions.write(tmp_path, exp_silent=source), "-n", "2")

    assert ended.code == 1
    assert "nothing was evaluated" in ended.text


def test_x_ends_the_session_and_leaves_no_process(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_shared=SOURCE.replace("seed < 3", "False"))

    ended = sessions.run(tmp_path, "-n", "2", "-x")

    assert ended.code == 2
    assert "stopping after 1 failures" in ended.text
    assert not (tmp_path / "judged.txt").exists()


REFUSING = """
    import pytest

    def pytest_gpuexp_plan_made(plan):
        raise pytest.UsageError(f"{sum(map(len, plan.values()))} runs are too many")
"""


@pytest.mark.parametrize(
    ("arguments", "conftest", "words"),
    [
        ([], REFUSING, "9 runs are too many"),
        (["--sweep=bogus=1"], "", "bogus"),
        (["--seeds=few"], "", "--seeds few: not a count"),
    ],
)
def test_what_cannot_run_is_refused_in_words_before_the_first_run(
    tmp_path: Path, arguments: list[str], conftest: str, words: str
) -> None:
    sessions.write(tmp_path, exp_shared=SOURCE, conftest=conftest)

    ended = sessions.run(tmp_path, "-n", "2", *arguments)

    assert ended.code != 0
    assert words in ended.text
    assert "INTERNALERROR" not in ended.text
    assert not (tmp_path / "ran.txt").exists()


def test_an_interrupted_session_reports_what_had_ended(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_slow="""
            import time
            from pathlib import Path
            from pytest_gpuexp import experiment, seeds

            pytestmark = experiment("slow")

            @seeds(6)
            def exp_waits(runner, seed):
                Path(f"began-{seed}").touch()
                runner.log_metrics({"loss": 0.5})
                while seed > 1 and not Path("go").exists():
                    time.sleep(0.01)
                assert True
        """,
    )

    with sessions.started(tmp_path, "-n", "2") as process:
        sessions.until(lambda: len(list(tmp_path.glob("began-*"))) == 4)
        process.send_signal(signal.SIGINT)
        ended = sessions.ending(process, tmp_path)

    assert ended.code == 2, ended.text
    report = yaml.safe_load((tmp_path / "results/slow/results.yaml").read_text())
    told = report["results"]["experiments"]["exp_waits"]
    assert report["status"] == "partial"
    assert told["variants"][0]["status"] == {"completed": 2, "cancelled": 2}
    assert told["variants"][0]["metrics"]["loss"]["n"] == 2
