"""Hydra apps of a user's own: run_on_modal, and the launcher for --multirun."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_gpuexp
from tests.behaviour import sessions

CONFIG = "lr: 0.1\nmodel: {layers: 2, width: '${model.layers}'}\nrun_on_modal: false\n"
APP = """
import hydra
from pytest_gpuexp.apps import run_config

def train(runner, lr, model):
    assert lr < 1, "too big"
    return {"metrics": {"val_loss": lr * model["width"]}}

@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg):
    result = run_config(cfg, train)
    print("ENDED", result.status, result.metrics, result.config)

if __name__ == "__main__":
    main()
"""
MULTIRUN = """
import hydra

@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg):
    if cfg.lr > 1:
        raise ValueError("boom")
    return cfg.lr * cfg.model.width

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/config.yaml").write_text(CONFIG)
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "multi.py").write_text(MULTIRUN)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = str(Path(pytest_gpuexp.__file__).parent.parent)
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=sessions.environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_an_apps_function_runs_in_a_worker_with_what_it_names(folder: Path) -> None:
    done = run(folder, "app.py", "model.layers=4", "hydra.job.chdir=true")

    told = "ENDED completed {'val_loss': 0.4} {'lr': 0.1, 'model': {'layers': 4, 'width': 4}, "
    assert told in done.stdout, done.stdout + done.stderr
    assert list(folder.glob("results/app/records/*.yaml"))


def test_a_multirun_is_one_session_and_a_failed_job_spares_the_others(folder: Path) -> None:
    done = run(folder, "multi.py", "--multirun", "hydra/launcher=gpuexp", "lr=0.1,2,0.3")

    records = [path.read_text() for path in folder.glob("results/multi/records/*.yaml")]
    assert len(records) == 3, done.stdout + done.stderr
    assert sum("return_value: 0." in text for text in records) == 2
    assert "main[lr:2-seed:0]: failed: boom" in done.stderr
    assert done.returncode == 1


def test_an_app_that_runs_a_function_may_be_multirun_too(folder: Path) -> None:
    words = ["--multirun", "hydra/launcher=gpuexp", "lr=0.1,0.2,3"]

    done = run(folder, "app.py", *words)

    found = [path.read_text() for path in folder.glob("results/app/records/*.yaml")]
    assert len(found) == 3, done.stdout + done.stderr
    assert sorted(re.findall(r"val_loss: ([\d.]+)", "".join(found))) == ["0.2", "0.4"]
    # The assert of the function is the verdict of its run, and its values are told.
    assert "main[lr:3-seed:0]: completed: too big" in done.stderr, done.stderr
    assert sum("verdict: fail" in text for text in found) == 1
