"""Runs the notebooks of the docs, which are scripts with cells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.behaviour import sessions

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: str(path.stem))
def test_a_notebook_runs_from_its_first_cell_to_its_last(notebook: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(notebook)],
        cwd=tmp_path,
        env=sessions.environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "completed pass {'val_loss': 0.25}" in done.stdout
    assert "best: {'rate': 0.1}" in done.stdout
    assert "success_criteria_met: true" in done.stdout
