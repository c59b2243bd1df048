"""`--resume` keeps what is done, runs the rest, and says why for each run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.behaviour import sessions
from tests.behaviour.sessions import ran

EXPERIMENT = """
    import helper
    from pytest_gpuexp import at_least, criterion, experiment, grid, seeds

    pytestmark = experiment("c1", success_criteria={"accuracy": at_least(0.4)})

    def note(name):
        with open("ran.txt", "a") as file:
            file.write(f"{name}\\n")

    @seeds(2)
    @grid(lr=[1, 2])
    def exp_swept(runner, data, seed, lr):
        note(f"{lr}-{seed}")
        runner.log_metrics({"accuracy": helper.fit(lr) * data})
        assert (lr, seed) != (2, 1)

    @criterion(exp_swept)
    def crit_swept(replicates):
        assert replicates["accuracy"].mean() > 0.1
"""
SIBLING = """
    def exp_sibling(runner):
        note("sibling")
        assert helper.other() == 0
"""
HELPER = """
    def fit(lr):
        return lr / 2

    def other():
        return 0
"""
CONFTEST = """
    import pytest

    @pytest.fixture
    def scale():
        return 1

    @pytest.fixture
    def data(scale):
        return scale
"""
ALL = ["1-0", "1-1", "2-0", "2-1"]


def project(folder: Path, **changes: tuple[str, str]) -> Path:
    """Write the project; ``changes`` are what to replace, and with what, a file."""
    sources = {"exp_c1": EXPERIMENT, "helper": HELPER, "conftest": CONFTEST}
    for name, (old, new) in changes.items():
        assert old in sources[name]
        sources[name] = sources[name].replace(old, new)
    return sessions.write(folder, **sources)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all runs of the experiment have been executed, to be copied."""
    folder = tmp_path_factory.mktemp("executed")
    sessions.run(project(folder))
    assert ran(folder) == ALL
    return folder


@pytest.fixture
def done(executed: Path, tmp_path: Path) -> Path:
    """A folder in which all runs of the experiment have been executed."""
    return Path(shutil.copytree(executed, tmp_path, dirs_exist_ok=True))


@pytest.mark.parametrize(
    "arguments", [(), ("-n", "2"), ("--backend=in-process",)], ids=["local", "xdist", "in-process"]
)
def test_what_is_done_is_not_run_again_and_reported_as_it_ended(
    done: Path, arguments: tuple[str, ...]
) -> None:
    again = sessions.run(done, "--resume", *arguments)

    assert ran(done) == []
    assert "4 of 4 runs kept, 0 to run" in again.text
    assert "1 failed, 6 passed" in again.text
    assert "FAILED exp_c1.py::exp_swept[lr:2-seed:1] - assert (2, 1) != (2, 1)" in again.text
    assert "PASSED exp_c1.py::exp_swept[lr:1-seed:0]" in again.text
    assert "PASSED exp_c1.py::crit_swept[lr:1]" in again.text
    assert "perhaps of other code" not in again.text
    assert again.code == 1
    assert len(again.record_files()) == 4


def test_without_resume_everything_runs(done: Path) -> None:
    again = sessions.run(done)

    assert ran(done) == ALL
    assert "resume:" not in again.text


def test_the_environment_and_the_ini_can_ask_for_it(done: Path) -> None:
    by_environment = sessions.run(done, changes={"PYTEST_GPUEXP_RESUME": "1"})
    sessions.write(done, tox="[pytest]\ngpuexp_resume = true\n")
    by_ini = sessions.run(done)
    refused = sessions.run(done, changes={"PYTEST_GPUEXP_RESUME": "0"})

    assert "4 of 4 runs kept" in by_environment.text
    assert "4 of 4 runs kept" in by_ini.text
    assert "runs kept" not in refused.text
    assert ran(done) == ALL


def test_added_seeds_run_alone(done: Path) -> None:
    again = sessions.run(done, "--resume", "--seeds", "3")

    assert ran(done) == ["1-2", "2-2"]
    assert "resume: 4 of 6 runs kept, 2 to run\n  2 new\n" in again.text


@pytest.mark.parametrize("arguments", [("-n", "2"), ("--backend=in-process",)])
def test_other_places_run_only_what_is_missing_too(done: Path, arguments: tuple[str, ...]) -> None:
    again = sessions.run(done, "--resume", "--seeds", "3", *arguments)

    assert ran(done) == ["1-2", "2-2"]
    assert "4 of 6 runs kept, 2 to run" in again.text
    assert "1 failed, 8 passed" in again.text
    assert len(again.record_files()) == 6


def test_with_v_the_plan_has_a_line_for_each_run(done: Path) -> None:
    again = sessions.run(done, "--resume", "--seeds", "3", "-v", "--dry-run")

    assert "  exp_swept[lr:1-seed:0]  kept\n" in again.text
    assert "  exp_swept[lr:1-seed:2]  new\n" in again.text
    assert ran(done) == []


def test_collect_only_shows_the_plan_and_starts_nothing(done: Path) -> None:
    project(done, helper=("lr / 2", "lr / 3"))

    again = sessions.run(done, "--resume", "--collect-only")

    assert "resume: 0 of 4 runs kept, 4 to run\n  4 stale: helper.py changed\n" in again.text
    assert ran(done) == []


def test_edits_of_what_no_run_uses_keep_all(done: Path) -> None:
    """All at once, and nothing is stale: so none of them makes a run stale."""
    edits = [
        ("exp_c1", "note(f", "# a comment\n        note(f"),
        ("exp_c1", "(runner, data, seed, lr):", '(runner, data, seed, lr):\n        """Told."""'),
        ("exp_c1", "at_least(0.4)", "at_least(0.3)"),
        ("exp_c1", ".mean() > 0.1", ".mean() > 0.2"),
        ("exp_c1", "grid(lr=[1, 2])", "grid(  lr=[1, 2, ] )"),
        ("helper", "return 0", "return 1"),
        ("helper", "def fit(lr):", "def fit(lr):  # as before"),
        ("conftest", "import pytest", "import pytest\n\n    def pytest_report_header(): pass"),
    ]
    sources = {"exp_c1": EXPERIMENT, "helper": HELPER, "conftest": CONFTEST}
    for name, old, new in edits:
        assert old in sources[name]
        sources[name] = sources[name].replace(old, new)
    sessions.write(done, **sources)

    again = sessions.run(done, "--resume", "--dry-run")

    assert "resume: 4 of 4 runs kept, 0 to run" in again.text


def test_a_new_sibling_runs_alone(done: Path) -> None:
    sessions.write(done, exp_c1=EXPERIMENT + SIBLING)

    again = sessions.run(done, "--resume")

    assert "resume: 4 of 5 runs kept, 1 to run\n  1 new\n" in again.text
    assert ran(done) == ["sibling"]


def test_an_edit_of_what_a_run_uses_makes_it_stale(done: Path) -> None:
    edits = {
        "a fixture of a fixture": ("conftest", "return 1", "return 2"),
        "the body": ("exp_c1", "* data", "* data * 1"),
        "a function beside it": ("exp_c1", '"a")', '"at")'),
        "a helper": ("helper", "lr / 2", "lr / 3"),
    }
    for what, (file, old, new) in edits.items():
        project(done, **{file: (old, new)})
        told = sessions.run(done, "--resume", "--dry-run").text
        reason = f"resume: 0 of 4 runs kept, 4 to run\n  4 stale: {file}.py changed\n"
        assert reason in told, what

    again = sessions.run(done, "--resume")

    assert reason in again.text
    assert ran(done) == ALL
    assert "4 of 4 runs kept" in sessions.run(done, "--resume", "--dry-run").text


def test_any_code_keeps_results_of_other_code_and_says_so(done: Path) -> None:
    project(done, helper=("lr / 2", "lr / 3"))

    again = sessions.run(done, "--resume", "--any-code", "--seeds", "3")

    assert ran(done) == ["1-2", "2-2"]
    assert "4 of 6 results are from earlier sessions, perhaps of other code" in again.text


@pytest.mark.parametrize("argument", ["--any-code", "--rerun=all"])
def test_what_only_resume_can_give_is_refused_without_it(tmp_path: Path, argument: str) -> None:
    ended = sessions.run(project(tmp_path), argument)

    assert ended.code == 4
    assert "without --resume none is; add --resume" in ended.text
    assert ran(tmp_path) == []


def test_last_failed_selects_and_resume_keeps(tmp_path: Path) -> None:
    sessions.run(project(tmp_path), cache=True)
    ran(tmp_path)

    again = sessions.run(tmp_path, "--lf", "--resume", cache=True)

    assert ran(tmp_path) == []
    assert "1 of 1 run kept" in again.text
    assert "1 failed" in again.text


def test_an_xfail_mark_speaks_of_kept_runs_too(tmp_path: Path) -> None:
    source = """
        import pytest
        from pytest_gpuexp import seeds

        @pytest.mark.xfail(reason="as known", strict=STRICT)
        @seeds(2)
        def exp_known(runner, seed):
            assert seed
    """
    sessions.write(tmp_path, exp_known=source.replace("STRICT", "False"))
    first = sessions.run(tmp_path)
    again = sessions.run(tmp_path, "--resume")
    sessions.write(tmp_path, exp_known=source.replace("STRICT", "True"))
    strict = sessions.run(tmp_path, "--resume")

    assert "1 xfailed, 1 xpassed" in first.text
    assert "1 xfailed, 1 xpassed" in again.text
    assert "1 failed, 1 xfailed" in strict.text
    assert len(strict.record_files()) == 2


def test_junit_has_the_metrics_of_kept_runs(done: Path) -> None:
    sessions.run(done, "--resume", "--junitxml=junit.xml")

    text = (done / "junit.xml").read_text()
    assert text.count('<property name="accuracy"') >= 4
    assert text.count("<failure") == 1


def test_stubs_are_neither_kept_nor_resumed(tmp_path: Path) -> None:
    sessions.run(project(tmp_path), "--stub-mode")

    stubs = sessions.run(tmp_path, "--stub-mode", "--resume")
    real = sessions.run(tmp_path, "--resume")

    assert "resume:" not in stubs.text
    assert "4 new" in real.text
    assert ran(tmp_path) == ALL


def test_records_without_a_fingerprint_are_stale(done: Path) -> None:
    for file in done.glob("results/c1/records/*.yaml"):
        old = file.read_text().partition("\n")[2]  # without the promise of a last line
        before, _, after = old.partition("fingerprint:\n")
        file.write_text(before + "provenance:" + after.partition("provenance:")[2])

    again = sessions.run(done, "--resume")

    assert "4 stale: recorded before fingerprints" in again.text
    assert ran(done) == ALL


def test_a_record_deleted_by_hand_leaves_the_index(done: Path) -> None:
    sessions.run(done, "--resume")
    sorted(done.glob("results/c1/records/*.yaml"))[0].unlink()

    again = sessions.run(done, "--resume")

    assert "3 of 4 runs kept" in again.text
    assert len(ran(done)) == 1


def test_a_corrupt_index_is_built_anew_without_a_word(done: Path) -> None:
    """The ways of being corrupt are in ``tests/rooms/test_record_index``."""
    sessions.run(done, "--resume")
    index = done / "results/c1/index.jsonl"
    index.write_text('{"head": 1}')

    again = sessions.run(done, "--resume", "--dry-run")

    assert "4 of 4 runs kept" in again.text
    assert "index.jsonl" not in again.text
    assert '"names":["c1/records/' in index.read_text()


def test_x_lets_the_runs_that_are_missing_run_before_it_stops(done: Path) -> None:
    (done / "exp_late.py").write_text("def exp_late(runner):\n    assert runner.seed == 0\n")

    again = sessions.run(done, "--resume", "-x")

    assert "PASSED exp_late.py::exp_late" in again.text
    assert "FAILED exp_c1.py::exp_swept[lr:2-seed:1]" in again.text
    assert again.code == 1


def test_an_index_of_records_that_were_deleted_speaks_for_no_new_ones(tmp_path: Path) -> None:
    source = """
        from pathlib import Path

        def exp_read(runner):
            runner.log_metrics({"x": float(Path("data.txt").read_text())})
            assert True
    """
    sessions.write(tmp_path, exp_read=source)
    (tmp_path / "data.txt").write_text("1.0")
    sessions.run(tmp_path, "--resume")
    for kind in ("records", "jobs", "runs"):
        shutil.rmtree(tmp_path / "results/exp_read" / kind)
    (tmp_path / "data.txt").write_text("7.0")
    sessions.run(tmp_path)

    again = sessions.run(tmp_path, "--resume")

    assert "1 of 1 run kept" in again.text
    assert "x: 7.0" in (tmp_path / "results/exp_read/results.yaml").read_text()


def test_xdist_workers_do_not_wait_for_each_other(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_slow="""
            import time
            from pathlib import Path
            from pytest_gpuexp import seeds

            @seeds(4)
            def exp_slow(runner, seed):
                Path(f"began-{seed}").touch()
                while len(list(Path().glob("began-*"))) < 2:
                    time.sleep(0.01)
                assert True
        """,
        conftest="""
            import time
            import pytest

            @pytest.hookimpl(trylast=True)
            def pytest_collection_finish(session):
                if getattr(session.config, "workerinput", {}).get("workerid") == "gw1":
                    time.sleep(1)
        """,
    )

    ended = sessions.run(tmp_path, "-n", "2", "--dist=worksteal", "--resume")

    assert "another session" not in ended.text
    assert "4 passed" in ended.text
