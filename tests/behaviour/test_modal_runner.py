"""The reference page's blocks that name Modal, as they stand, against the tests' Modal server."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp import cli
from tests.behaviour import sessions
from tests.behaviour.test_modal import PYPROJECT, deploy
from tests.modal_server import starting

pytestmark = pytest.mark.timeout(150)

BLOCKS = """
    from pytest_gpuexp import CloudRunnerFactory

    runner = CloudRunnerFactory.create("modal")
    result = runner.run_experiment(config, gpu_type="standard")
    results = runner.run_sweep(
        configs,
        gpu_type="standard",
        parallelism=4,
        timeout_seconds=1800,
    )
"""
TRAIN = """
    def train(runner, model):
        assert model["layers"] < 3, "too deep"
        return {"metrics": {"val_loss": 1 / model["layers"]}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    sessions.write(tmp_path, train=TRAIN)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    with starting.modal_server("--preemption-grace=5", max_containers=2) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        deploy(server, tmp_path)
        yield tmp_path


def test_single_experiment_and_sweeps_run_on_modal(folder: Path) -> None:
    names: dict[str, Any] = {
        "config": {"_target_": "train.py::train", "model": {"layers": 2}},
        "configs": [{"_target_": "train.py::train", "model": {"layers": n}} for n in (1, 3)],
    }

    exec(compile(textwrap.dedent(BLOCKS), "page", "exec"), names)

    assert (names["result"].status, names["result"].metrics) == ("completed", {"val_loss": 0.5})
    assert [one.verdict for one in names["results"]] == ["pass", "fail"]
    assert len(list(folder.glob("results/train/records/*.yaml"))) == 3

    # Via Hydra CLI: the stage is the same as on this machine, but for where it runs.
    (folder / "stages").mkdir()
    (folder / "stages/stage2.yaml").write_text("handler: train.py::train\n")
    words = ["run_on_modal=true", "model.layers=1,2", "storage=staged"]
    assert cli.main(["stage", "stage2", *words]) == 0
    assert len(list(folder.glob("staged/train/records/*.yaml"))) == 2
