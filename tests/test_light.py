"""Installed and unused, the plugin brings nothing heavy into a session."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "boto3",
    "hydra",
    "matplotlib",
    "modal",
    "numpy",
    "omegaconf",
    "pandas",
    "rich",
    "scipy",
    "torch",
    "wandb",
    "yaml",
)
LOADED = "loaded = {name.partition('.')[0] for name in sys.modules}\n"
# What other people's plugins load is not ours to answer for.
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def loaded_by(program: str, folder: Path) -> set[str]:
    """Return the top-level modules that are loaded once ``program`` has set ``loaded``."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint('LOADED', *sorted(loaded))"],
        cwd=folder,
        env={"PATH": "", **ALONE},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(done.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize(
    "program",
    [
        "import pytest_gpuexp\n",
        "import pytest_gpuexp.plugin\n",
        "from pytest_gpuexp import at_least, criterion, experiment, grid, seeds, tier\n",
    ],
)
def test_importing_loads_nothing_heavy(program: str, tmp_path: Path) -> None:
    loaded = loaded_by(program + LOADED, tmp_path)

    assert "pytest_gpuexp" in loaded
    assert not loaded & set(HEAVY)


def test_an_ordinary_session_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_a():\n    pass\n")
    (tmp_path / "exp_a.py").write_text("raise RuntimeError('imported')\n")
    program = (
        "import pytest\nassert pytest.main(['-p', 'pytest_gpuexp.plugin', 'test_a.py']) == 0\n"
    )

    loaded = loaded_by(program + LOADED, tmp_path)

    assert not loaded & set(HEAVY)


def test_an_ordinary_session_opens_only_the_door(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_a():\n    pass\n")
    program = (
        "import pytest\n"
        "assert pytest.main(['-p', 'pytest_gpuexp.plugin']) == 0\n"
        "loaded = {name.split('.')[1] for name in sys.modules if name.startswith('pytest_gpuexp.')}"
    )

    loaded = loaded_by(program, tmp_path)

    assert "plugin" in loaded
    assert not loaded & {"session", "terminal", "places", "collection", "worker", "backends"}
