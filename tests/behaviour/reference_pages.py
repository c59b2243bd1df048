"""Runs the blocks of the reference pages as they stand, for a project of a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.behaviour import sessions
from tests.behaviour.modal_projects import TIGRIS, WANDB, ModalProject
from tests.modal_server import starting

ROOT = Path(__file__).parents[2]
EXPERIMENT = """
    from pytest_gpuexp import experiment
    pytestmark = experiment("c1-vlm-latent-sufficiency")
    def e1_1_latent_visualization(runner):
        return {"finding": "clear", "metrics": {"silhouette_score": 0.72}}
    def e1_2_probes(runner):
        assert runner.seed == 0
"""
TRAIN = """
    def train(runner, learning_rate=1e-3, model=None, **config):
        layers = (model or {}).get("num_layers", 1)
        return {"metrics": {"val_loss": learning_rate + 1 / layers, "test_loss": 0.145}}
"""
GROUPS = {
    "models/gnn/standard": "name: gnn\nnum_layers: 2\n",
    "models/attention/multi_layer": "name: attention\nnum_layers: 2\n",
    "data/sbm_default": "nodes: 20\n",
}
PYPROJECT = '[project]\nname = "pytest-gpuexp"\nversion = "1"\n'  # whose app the clone deploys
DOPPLER = {**TIGRIS, **WANDB}  # what `doppler run` would put into the environment
_SECONDS = 110
# The environment is ready: this very Python is of it. `mise run X` does what mise.toml says of X,
# `uv run X` starts X, and the page's own script is our command with the name of its stage.
_COMMANDS = {
    "make": 'exec "{make}" -o setup BIN="{bin}" "$@"',
    "mise": 'exec "{python}" -c "{read}" "$2"',
    "uv": 'shift; exec "$@"',
    "tmgg-stage2": 'exec "{bin}/gpuexp" stage stage2 "$@"',
}
_READ = """
import os, sys, tomllib
task = tomllib.load(open('mise.toml', 'rb'))['tasks'][sys.argv[1]]['run']
os.execvp('sh', ['sh', '-c', task])
"""


def write_project(folder: Path) -> Path:
    """Write the functions and configs that the blocks' own names stand for."""
    folder.mkdir(parents=True, exist_ok=True)
    sessions.write(folder, exp_c1=EXPERIMENT, train=TRAIN)
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, text in GROUPS.items():
        file = folder / "exp_configs" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def names() -> dict[str, Any]:
    """Return what the names of the blocks stand for, in such a project."""
    config = {"_target_": "train.py::train", "run_id": "first", "seed": 1, "learning_rate": 0.1}
    return {
        "Path": Path,
        "config": config,
        "configs": [{**config, "run_id": f"run-{lr}", "learning_rate": lr} for lr in (0.1, 0.2)],
        "base_config": {"_target_": "train.py::train"},
    }


def execute(block: str, known: dict[str, Any]) -> dict[str, Any]:
    """Execute a block of Python where the names ``known`` are known, and return all after it."""
    source = textwrap.dedent(block).replace("tmgg.experiment_utils.cloud", "pytest_gpuexp")
    exec(compile(source, "page", "exec", dont_inherit=True), known)
    return known


def write_commands(folder: Path) -> Path:
    """Write the commands that the pages name and this environment lacks, and return their folder.

    A package's scripts are not there where it was not installed with pip: they are written, too.
    """
    folder.mkdir(parents=True)
    words = {
        "make": shutil.which("make"),
        "bin": str(folder),
        "python": sys.executable,
        "read": _READ,
    }
    entries = {
        "python": f'exec "{sys.executable}" "$@"',
        "modal": f'exec "{sys.executable}" -m modal "$@"',
        "pytest": f'exec "{sys.executable}" -m pytest "$@"',
        "gpuexp": f'exec "{sys.executable}" -c '
        "'from pytest_gpuexp.cli import main; raise SystemExit(main())' \"$@\"",
    }
    for name, text in {**_COMMANDS, **entries}.items():
        script = folder / name
        script.write_text("#!/bin/sh\n" + (text.format(**words) if name in _COMMANDS else text))
        script.chmod(0o755)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the blocks of a page run with: a project, the commands, and where they are typed."""

    project: ModalProject
    commands: Path
    folder: Path

    def bash(self, block: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a shell block; the first command that fails ends it."""
        return subprocess.run(
            ["bash", "-e", "-c", block],
            cwd=self.folder,
            env=self.variables(**environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def variables(self, **environ: str) -> dict[str, str]:
        """Return the environment of a block."""
        path = os.pathsep.join([str(self.commands), os.environ["PATH"]])
        return self.project.variables({"PATH": path, **sessions.alone([]), **environ})

    def journal(self, event: str) -> list[dict[str, Any]]:
        """Return what the server was asked for."""
        return self.project.server.journal(event)


def clone(server: starting.ModalServer, folder: Path) -> Page:
    """Return the page of a clone of this repository; Python's blocks run in ``folder``."""
    write_project(folder / "project")
    (folder / "project/pyproject.toml").write_text(PYPROJECT)
    made = ModalProject(folder=folder / "project", server=server)
    return Page(project=made, commands=write_commands(folder / "bin"), folder=ROOT)
