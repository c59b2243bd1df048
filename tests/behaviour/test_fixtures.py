"""What fixtures of each scope see of the runs, isolated and in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.behaviour import sessions

CONFTEST = """
import os
import pytest

def note(*words):
    with open(os.environ["NOTES"], "a") as file:
        print(*words, file=file)

@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    note("session up")
    (tmp_path_factory.mktemp("data") / "x.txt").write_text("kept")
    yield {"used": 0}
    note("session down")

@pytest.fixture(scope="package")
def package():
    note("package up")
    yield
    note("package down")

@pytest.fixture(autouse=True)
def everywhere(request):
    note("around", request.node.name)
    yield
    note("left", request.node.name)
"""
EXPERIMENT = """
import pytest
from conftest import note
from pytest_gpuexp import criterion, grid, seeds

@pytest.fixture(scope="module")
def weights(dataset, package):
    note("module up")
    yield [1.0]
    note("module down")

@pytest.fixture
def batch(weights, seed, lr):
    note("function up", seed, lr)
    yield (seed, lr)
    note("function down", seed, lr)

@grid(lr=[0.5])
@seeds(2)
def exp_a(runner, batch, dataset, monkeypatch, tmp_path, capsys, request, pytestconfig):
    dataset["used"] += 1
    monkeypatch.setenv("EXP_A", "set")
    (tmp_path / "scratch.txt").write_text("scratch")
    print("to capsys")
    assert capsys.readouterr().out == "to capsys\\n"
    assert batch == (runner.seed, 0.5)
    assert request.node.name == f"exp_a[lr:0.5-seed:{runner.seed}]"
    return {"metrics": {"used": dataset["used"]}}

def exp_b(runner, weights):
    assert weights == [1.0]

@criterion(exp_a, over="all")
def crit_a(replicates, dataset):
    note("criterion", dataset["used"])
    assert len(replicates["used"]) == 2
"""
OPEN = ["session up", "package up", "module up"]
CLOSED = ["module down", "package down", "session down"]


def run(folder: Path, *arguments: str) -> tuple[sessions.Ended, list[str]]:
    sessions.write(folder, conftest=CONFTEST, exp_a=EXPERIMENT)
    notes = folder / "notes.txt"
    ended = sessions.run(folder, *arguments, changes={"NOTES": str(notes)})
    assert ended.code == 0, ended.text
    return ended, notes.read_text().splitlines()


@pytest.fixture(scope="module")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> tuple[sessions.Ended, list[str]]:
    return run(tmp_path_factory.mktemp("isolated"), "--parallelism=1")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[sessions.Ended, list[str]]:
    return run(tmp_path_factory.mktemp("shared"), "--backend=in-process")


def test_an_isolated_run_has_fixtures_of_every_scope_to_itself(
    isolated: tuple[sessions.Ended, list[str]],
) -> None:
    ended, notes = isolated

    assert ended.record("exp_a[lr:0.5-seed:0]")["metrics"] == {"used": 1.0}
    assert ended.record("exp_a[lr:0.5-seed:1]")["metrics"] == {"used": 1.0}
    first = notes[: notes.index("session down") + 1]
    assert sorted(first) == sorted(
        [
            *["session up", "around exp_a[lr:0.5-seed:0]", "package up", "module up"],
            *["function up 0 0.5", "function down 0 0.5", "left exp_a[lr:0.5-seed:0]"],
            *["module down", "package down", "session down"],
        ]
    )


def test_an_isolated_run_tears_down_all_that_it_has_set_up(
    isolated: tuple[sessions.Ended, list[str]],
) -> None:
    _, notes = isolated

    runs = notes[: notes.index("criterion 0")]
    for word in ("package", "module"):
        assert runs.count(f"{word} up") == runs.count(f"{word} down") == 3
    assert runs.count("session down") == 3


def test_a_criterion_gets_fixtures_of_the_session_not_of_the_runs(
    isolated: tuple[sessions.Ended, list[str]],
) -> None:
    _, notes = isolated

    assert "criterion 0" in notes
    assert notes[-1] == "session down"


def test_runs_of_this_process_share_what_is_wider_than_a_run(
    shared: tuple[sessions.Ended, list[str]],
) -> None:
    ended, notes = shared

    assert ended.record("exp_a[lr:0.5-seed:0]")["metrics"] == {"used": 1.0}
    assert ended.record("exp_a[lr:0.5-seed:1]")["metrics"] == {"used": 2.0}
    runs = notes[: notes.index("session down") + 1]
    for note in (*OPEN, *CLOSED):
        assert runs.count(note) == 1, note
    assert runs.index("function down 0 0.5") < runs.index("function up 1 0.5")
    assert len([note for note in runs if note.startswith("left")]) == 3


@pytest.mark.parametrize("isolation", ["fork", "spawn"])
def test_the_temporary_folders_of_runs_and_tests_stand_side_by_side(
    tmp_path: Path, isolation: str
) -> None:
    scratch = "    (tmp_path / 'scratch.txt').write_text('scratch')\n    assert tmp_path\n"
    sessions.write(
        tmp_path,
        test_a="def test_a(tmp_path):\n" + scratch,
        exp_a=f"""
from pytest_gpuexp import criterion, seeds

@seeds(2)
def exp_a(runner, tmp_path):
{scratch}
@criterion(exp_a)
def crit_a(replicates, tmp_path):
{scratch}
""",
    )

    ended = sessions.run(tmp_path, "--basetemp=base", f"--gpuexp-isolation={isolation}")

    assert ended.code == 0, ended.text
    assert len(list((tmp_path / "base").glob("*0/scratch.txt"))) == 2
    assert len(list((tmp_path / "base" / "runs").glob("**/*0/scratch.txt"))) == 2


def test_a_fixture_that_fails_is_an_error_of_its_run_alone(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a="""
            import pytest
            from pytest_gpuexp import grid

            @pytest.fixture
            def model(width):
                if width == 2:
                    raise ValueError("no model of width 2")
                yield width
                if width == 3:
                    raise ValueError("cannot let go of width 3")

            @grid(width=[1, 2, 3])
            def exp_a(runner, model):
                runner.log_metrics({"width": model})
                assert model == runner.config["width"]
            """,
    )

    ended = sessions.run(tmp_path)

    assert ended.code == pytest.ExitCode.TESTS_FAILED
    assert ended.record("exp_a[width:1]")["status"] == "completed"
    assert ended.record("exp_a[width:2]")["status"] == "failed"
    assert ended.record("exp_a[width:2]")["error_message"] == "no model of width 2"
    assert ended.record("exp_a[width:3]")["metrics"] == {"width": 3.0}
    assert "ERROR at setup of exp_a" in ended.text
    assert "ERROR at teardown of exp_a" in ended.text
