"""``gpuexp stage``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pytest_gpuexp
from pytest_gpuexp import cli
from tests.behaviour import sessions

STAGE = """
handler: exp_a.py::exp_mlp
hyperparameter_space: {learning_rate: [0.1, 0.2]}
base_config: {model: {layers: 2}}
seeds: 2
success_criteria: {auc: {acceptable: 0.5, direction: at_least}}
"""
PROGRAM = "import sys; from pytest_gpuexp import cli; sys.exit(cli.main())"
EXPERIMENT = """
    def exp_mlp(learning_rate, model):
        return {"metrics": {"auc": learning_rate + model["layers"] / 10}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sessions.write(tmp_path, exp_a=EXPERIMENT)
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/stage2.yaml").write_text(STAGE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_overrides_change_axes_base_config_and_session(folder: Path) -> None:
    words = ["learning_rate=1e-1,3e-1", "model.layers=5", "seeds=1", "storage=out"]
    path = str(Path(pytest_gpuexp.__file__).parent.parent)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "stage", "stage2", *words],
        env=sessions.environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "exp_mlp[learning_rate:0.3-seed:0]" in done.stdout
    assert "stage stage2: 2 runs: 2 learning_rate x 1 seeds" in done.stdout
    assert len(list(folder.glob("out/exp_a/records/*.yaml"))) == 2
    assert (folder / "out/exp_a/stages/stage2.yaml").exists()
    assert list(folder.glob(".gpuexp/sweeps/*")) == []


def test_words_behind_dashes_go_to_pytest_and_sizes_are_told_before_the_first_run(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["learning_rate=0.5", "seed=3", "--", "-p", "no:cacheprovider", "--junitxml=out.xml"]

    code = cli.main(["stage", "stage2", *words])

    told = capfd.readouterr().out
    assert code == 0, told
    assert (folder / "out.xml").exists()
    assert not (folder / ".pytest_cache").exists()
    assert told.index("stage stage2: 1 run: 1 learning_rate x 1 seeds") < told.index("PASSED")


@pytest.mark.parametrize("place", [".", "src"])
def test_a_function_of_a_package_is_found_where_the_commands_path_does_not_lead(
    folder: Path, place: str
) -> None:
    package = folder / place / "far"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "sizes.py").write_text("LAYERS = 3\n")
    (package / "training.py").write_text(
        "from far.sizes import LAYERS\ndef train(lr): return {'metrics': {'auc': lr * LAYERS}}\n"
    )
    (folder / "stages/far.yaml").write_text(
        "handler: far.training.train\nhyperparameter_space: {lr: [1]}\n"
        "success_criteria: {auc: {acceptable: 3, direction: at_least}}\n"
    )
    # As the installed script is started: its own folder is on the path, and this one is not.
    program = f"import sys; sys.path.remove(''); {PROGRAM}"
    path = str(Path(pytest_gpuexp.__file__).parent.parent)

    done = subprocess.run(
        [sys.executable, "-c", program, "stage", "far"],
        env=sessions.environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(folder.glob("results/training/records/*.yaml"))) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["stage2", "learning_rate=range(1,4)"], "6 runs: 3 learning_rate x 2 seeds"),
        (["stages/stage2.yaml", "dropout=0.1,0.2"], "8 runs: 2 learning_rate x 2 dropout x 2"),
        (["stage2", "seeds=[0,7,9]"], "6 runs: 2 learning_rate x 3 seeds"),
        (["stage2", "seed=7"], "2 runs: 2 learning_rate x 1 seeds"),
        (["stage2", "seed=[3,4,5]"], "6 runs: 2 learning_rate x 3 seeds"),
        (["stage2", "seed=7,8,9"], "6 runs: 2 learning_rate x 3 seeds"),
        (["stage2", "seeds=4,5", "learning_rate=1"], "2 runs: 1 learning_rate x 2 seeds"),
    ],
)
def test_a_dry_run_says_the_sizes(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert cli.main(["stage", "--dry-run", *words]) == 0

    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["stage3"], "there is no stage 'stage3'; stages/ holds: stage2"),
        (
            ["stage2", "gpu_type=a,b", "run_on_modal=3", "parallelism=0"],
            "3 problems: gpu_type=a,b: it takes one value; run_on_modal: 3 is not true or false; ",
        ),
        (["stage2", "run_on_modal=true", "backend=local"], "exclude each other"),
        (["stage2", "model.layers.deep=1"], "model.layers.deep: layers has nothing in it"),
        (["stage2", "gpu_type=a100"], "gpu_type: 'a100' is not a tier"),
        (["stage2", "learning_rate=[1"], "learning_rate=[1: "),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert cli.main(["stage", *words]) == 2

    assert told in capsys.readouterr().err
    assert not (folder / "results").exists()


def test_a_misspelt_interpolation_is_told_and_no_traceback(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["stage", "stage2", "model.width='${seed'", "--dry-run"])

    told = capsys.readouterr()
    assert code != 0
    assert "model.width: no viable alternative at input '${seed'" in told.out + told.err
