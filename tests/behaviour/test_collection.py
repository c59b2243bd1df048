"""What of a project's files becomes a run, and what is left to others or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.behaviour import sessions

EVERYTHING = '''
"""A file with all that could be taken for a handler."""
import pytest
from neighbours import exp_imported
from pytest_gpuexp import criterion, experiment, seeds

pytestmark = [experiment("c1", claim="All is well."), seeds(2), pytest.mark.filterwarnings("error")]


def exp_first(runner):
    assert runner.seed < 2
    return {"metrics": {"seed": runner.seed}}


@seeds([7])
def e1_1_latent_visualization(runner):
    assert runner.config == {"seed": 7}


def e12_3_other(runner):
    assert True


def exp_left_out(runner):
    raise RuntimeError


exp_left_out.__test__ = False


def example(runner):
    raise RuntimeError


def test_like_any_other():
    raise RuntimeError


class Settings:
    exponent = 3


@criterion(exp_first)
def exp_crit_counts(replicates):
    assert len(replicates["seed"]) == 2
'''


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> sessions.Ended:
    folder = sessions.write(
        tmp_path_factory.mktemp("everything"),
        exp_everything=EVERYTHING,
        neighbours="def exp_imported(runner):\n    raise RuntimeError\n",
        helpers="def exp_helper():\n    raise RuntimeError\n",
    )
    return sessions.run(folder, "-W", "error")


def test_every_handler_defined_in_an_experiment_file_runs(everything: sessions.Ended) -> None:
    assert everything.code == 0, everything.text
    assert {path.name.rpartition(".")[0] for path in everything.record_files()} == {
        f"{everything.record(name)['run_id']}.1"
        for name in (
            "exp_first[seed:0]",
            "exp_first[seed:1]",
            "e1_1_latent_visualization[seed:7]",
            "e12_3_other[seed:0]",
            "e12_3_other[seed:1]",
        )
    }


def test_a_numbered_handler_is_known_by_its_number(everything: sessions.Ended) -> None:
    record = everything.record("e1_1_latent_visualization[seed:7]")

    assert record["handler"] == "e1_1"


def test_any_other_handler_is_known_by_its_name(everything: sessions.Ended) -> None:
    assert everything.record("exp_first[seed:0]")["handler"] == "exp_first"


def test_pytestmark_names_the_experiment(everything: sessions.Ended) -> None:
    text = (everything.folder / "results" / "c1" / "results.yaml").read_text()

    assert "experiment_id: c1\n" in text
    assert "claim: All is well.\n" in text


def test_a_criterion_is_never_a_handler_whatever_its_name(everything: sessions.Ended) -> None:
    assert "PASSED exp_everything.py::exp_crit_counts" in everything.text


def test_a_returned_dict_is_no_warning_and_no_error(everything: sessions.Ended) -> None:
    assert "PytestReturnNotNoneWarning" not in everything.text
    assert everything.record("exp_first[seed:1]")["metrics"] == {"seed": 1.0}


def test_files_and_functions_of_other_names_are_chosen_in_the_ini(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        tox="""
            [pytest]
            gpuexp_files = study_*.py
            gpuexp_functions = run_*
            """,
        study_a="def run_it(runner):\n    assert True\ndef exp_not(runner):\n    assert False\n",
        exp_b="def exp_not(runner):\n    assert False\n",
    )

    ended = sessions.run(tmp_path)

    assert ended.code == 0, ended.text
    assert ended.record("run_it")["experiment_id"] == "study_a"
    assert len(ended.record_files()) == 1


def test_a_class_that_says_it_is_no_test_may_have_any_methods(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_model="""
            class Model:
                __test__ = False
                def exp_decay(self): ...

            def exp_model(runner):
                assert Model
            """,
    )

    ended = sessions.run(tmp_path)

    assert ended.code == 0, ended.text


ODD = """
class ExpGroup:
    def exp_method(self, runner): ...
    def e1_1_method(self, runner): ...

async def exp_coroutine(runner): ...

async def exp_asynchronous(runner):
    yield

def exp_generator(runner):
    yield

def exp_misspelt(runer): ...

def e1_1_a(runner): ...
def e1_1_b(runner): ...
"""
UNJUDGED = """
from pytest_gpuexp import criterion

def exp_a(runner): ...

def fit(): ...

@criterion(fit, over="seed")
def crit_a(replicates): ...

@criterion(exp_a, over="seeds")
def crit_b(replicates): ...
"""
DECLARED_WRONGLY = """
from pytest_gpuexp import experiment

pytestmark = experiment("../c1", judged="all", success_criteria={"loss": 0.1})

def exp_a(runner): ...
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> sessions.Ended:
    folder = sessions.write(
        tmp_path_factory.mktemp("refused"),
        exp_broken="import nowhere_to_be_found\n",
        exp_declared=DECLARED_WRONGLY,
        exp_odd=ODD,
        exp_syntax="def exp_x(:\n",
        exp_unjudged=UNJUDGED,
        exp_whole="def exp_whole(runner):\n    assert True\n",
        test_ordinary="def test_ordinary():\n    pass\n",
    )
    return sessions.run(folder)


def test_an_error_of_collection_stops_the_session_before_anything_runs(
    refused: sessions.Ended,
) -> None:
    assert refused.code == pytest.ExitCode.INTERRUPTED
    assert "Interrupted: 5 errors during collection" in refused.text
    assert not (refused.folder / "results").exists()


def test_what_cannot_be_a_handler_is_refused_in_one_error(refused: sessions.Ended) -> None:
    for problem in (
        "exp_odd.py: 6 problems:",
        "class ExpGroup holds exp_method, e1_1_method; handlers are functions of the module, so "
        "move them out of the class",
        "exp_coroutine is a coroutine (async def); a handler is a plain function that returns a "
        "dict or None",
        "exp_asynchronous is an asynchronous generator; a handler",
        "exp_generator is a generator (it yields); a handler",
        "two handlers have the id e1_1; rename one of them",
        "exp_misspelt: 'runer' is neither a parameter (seed) nor a fixture",
    ):
        assert problem in refused.text


def test_an_experiment_is_declared_rightly_or_not_at_all(refused: sessions.Ended) -> None:
    for problem in (
        "exp_declared.py: 3 problems:",
        "experiment id '../c1' names a folder: letters, digits, '-', '_' and '.'",
        "judged='all' is not 'any' or 'every'",
        "success_criteria['loss'] is 0.1; write at_least(...) or at_most(...)",
    ):
        assert problem in refused.text


def test_a_criterion_of_no_handler_is_refused(refused: sessions.Ended) -> None:
    for problem in (
        "exp_unjudged.py: 2 problems: crit_a: criterion(<function fit at ",
        "is no handler here (exp_a); crit_b: over='seeds' is not 'run', 'seed' or 'all'",
    ):
        assert problem in refused.text


def test_a_file_that_cannot_be_imported_is_an_error_like_any_other(
    refused: sessions.Ended,
) -> None:
    for line in (
        "ERROR exp_broken.py",
        "No module named 'nowhere_to_be_found'",
        "ERROR exp_syntax.py",
        "SyntaxError: invalid syntax",
    ):
        assert line in refused.text


def test_what_can_be_collected_runs_where_the_user_goes_on(refused: sessions.Ended) -> None:
    ended = sessions.run(refused.folder, "--continue-on-collection-errors")

    assert ended.code == pytest.ExitCode.TESTS_FAILED
    assert ended.record("exp_whole")["status"] == "completed"
    assert "2 passed, 5 errors" in ended.text


def test_a_file_that_ends_its_import_by_skip_is_skipped(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_gpu="""
            import pytest
            pytest.importorskip("nowhere_to_be_found")
            def exp_x(runner): ...
            """,
    )

    ended = sessions.run(tmp_path)

    assert ended.code == pytest.ExitCode.NO_TESTS_COLLECTED, ended.text
    assert "1 skipped" in ended.text


def test_two_experiments_with_one_id_are_refused(tmp_path: Path) -> None:
    declared = 'from pytest_gpuexp import experiment\npytestmark = experiment("c1")\n'
    sessions.write(
        tmp_path,
        exp_a=declared + "def exp_a(runner): ...\n",
        exp_b=declared + "def exp_b(runner): ...\n",
    )

    ended = sessions.run(tmp_path)

    assert ended.code == pytest.ExitCode.USAGE_ERROR
    assert (
        "exp_a.py and exp_b.py are both experiment 'c1'; rename one, or they would share their "
        "results" in ended.text
    )
    assert not (tmp_path / "results").exists()


SELECTABLE = """
import pytest
from pytest_gpuexp import criterion, experiment, grid, seeds

pytestmark = experiment("c1")


@pytest.mark.slow
@grid(lr=[0.1, 0.2])
@seeds(2)
def exp_slow(runner, lr):
    assert True


def exp_quick(runner):
    assert True


@criterion(exp_quick)
def crit_quick(replicates):
    assert True
"""


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["-k", "quick"], ["exp_quick", "crit_quick"]),
        (["-m", "slow", "-k", "seed:1"], ["exp_slow[lr:0.1-seed:1]", "exp_slow[lr:0.2-seed:1]"]),
        (
            ["exp_a.py::exp_slow"],
            [f"exp_slow[lr:{lr}-seed:{seed}]" for lr in (0.1, 0.2) for seed in (0, 1)],
        ),
        (["--gpuexp-filter", "lr == 0.1 and seed == 0", "-k", "slow"], ["exp_slow[lr:0.1-seed:0]"]),
    ],
)
def test_runs_are_chosen_as_tests_are(
    tmp_path: Path, arguments: list[str], names: list[str]
) -> None:
    ini = "[pytest]\nmarkers = slow: takes its time\n"
    sessions.write(tmp_path, exp_a=SELECTABLE, tox=ini)

    ended = sessions.run(tmp_path, "--collect-only", "-q", *arguments)

    assert ended.code == 0, ended.text
    shown = [line.removeprefix("exp_a.py::") for line in ended.text.splitlines() if "::" in line]
    assert shown == names


WORDED = """
import pytest

@pytest.mark.parametrize("width", [pytest.param(3, id="small"), pytest.param(400, id="big")])
@pytest.mark.parametrize("depth", [1, 2], ids=["flat", "deep"])
def exp_worded(runner, width, depth):
    assert width > depth
"""


def test_k_takes_the_ids_that_parametrize_gives(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_a=WORDED)

    ended = sessions.run(tmp_path, "--collect-only", "-q", "-k", "big and not flat")

    assert "exp_a.py::exp_worded[width:400-depth:2]" in ended.text
    assert "1/4 tests collected" in ended.text


def test_files_that_are_named_are_each_judged_and_reported(tmp_path: Path) -> None:
    names = ["exp_a", "exp_b", "exp_c"]
    source = """
        from pytest_gpuexp import criterion
        def exp_one(runner): return {"metrics": {"score": 1}}
        @criterion(exp_one)
        def crit_one(replicates): assert len(replicates.results) == 1
        """
    sessions.write(tmp_path, **dict.fromkeys(names, source))

    ended = sessions.run(tmp_path, *[f"{name}.py" for name in names])

    assert ended.code == 0, ended.text
    assert "6 passed" in ended.text
    assert [name for name in names if (tmp_path / f"results/{name}/results.yaml").exists()] == names


def test_only_the_runs_that_were_chosen_are_run(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_a=SELECTABLE, tox="[pytest]\nmarkers = slow: takes its time\n")

    ended = sessions.run(tmp_path, "-m", "slow", "exp_a.py::exp_slow[lr:0.2-seed:0]")

    assert ended.code == 0, ended.text
    assert [path.suffix for path in ended.record_files()] == [".yaml"]
    assert ended.record("exp_slow[lr:0.2-seed:0]")["verdict"] == "pass"


def test_collect_only_shows_the_plan_and_starts_nothing(tmp_path: Path) -> None:
    sessions.write(tmp_path, exp_a=SELECTABLE, tox="[pytest]\nmarkers = slow: takes its time\n")

    ended = sessions.run(tmp_path, "--collect-only")

    assert ended.code == 0, ended.text
    assert "c1: 5 runs = exp_slow 2 variants x 2 seeds + exp_quick" in ended.text
    assert "backend local" in ended.text
    assert "<ExperimentItem exp_slow[lr:0.1-seed:0]>" in ended.text
    assert not (tmp_path / "results").exists()


def test_dry_run_shows_the_plan_and_runs_nothing(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a=SELECTABLE,
        tox="[pytest]\nmarkers = slow: takes its time\n",
        conftest="""
            def pytest_gpuexp_plan_made(plan):
                print("planned", sum(map(len, plan.values())))
            """,
    )

    ended = sessions.run(tmp_path, "--dry-run", "-s", "--backend=local")

    assert ended.code == 0, ended.text
    assert "c1: 5 runs" in ended.text
    assert "planned 5" in ended.text
    assert not (tmp_path / "results").exists()


def test_marks_that_a_conftest_adds_hold_for_runs(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        tox="[pytest]\nmarkers = slow: takes its time\n",
        exp_a="""
            import pytest
            @pytest.mark.slow
            def exp_slow(runner):
                raise RuntimeError("should have been skipped")
            def exp_doubtful(runner):
                assert runner.seed == 1
            def exp_quick(runner):
                assert True
            """,
        conftest="""
            import pytest

            def pytest_addoption(parser):
                parser.addoption("--runslow", action="store_true", help="run slow tests")

            def pytest_collection_modifyitems(config, items):
                for item in items:
                    if "slow" in item.keywords and not config.getoption("--runslow"):
                        item.add_marker(pytest.mark.skip(reason="needs --runslow"))
                    if item.name == "exp_doubtful":
                        item.add_marker(pytest.mark.xfail(reason="not yet"))
            """,
    )

    ended = sessions.run(tmp_path)

    assert ended.code == 0, ended.text
    assert "1 passed, 1 skipped, 1 xfailed" in ended.text
    assert "needs --runslow" in ended.text
    assert ended.record("exp_doubtful")["expected_failure"] == "not yet"


def test_the_modules_of_one_folder_may_import_each_other(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a="def fit():\n    return 1\ndef exp_a(runner):\n    assert fit() == 1\n",
        exp_b="from exp_a import exp_a, fit\ndef exp_b(runner):\n    assert fit() == 1\n",
    )

    ended = sessions.run(tmp_path)

    assert ended.code == 0, ended.text
    assert len(ended.record_files()) == 2
