"""What a project's own pytest knows, asked by a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pytest_gpuexp import errands
from pytest_gpuexp.errors import BackendUnavailable

_FILE = "PYTEST_GPUEXP_OFFERS"
_SECONDS = 120.0


def backends_of(folder: Path, options: Sequence[str] = ()) -> list[str]:
    """Return the names of the backends that a session in ``folder`` knows, built-in ones first.

    ``options`` are further words for pytest, which is started in a process of its own.

    Raises:
        BackendUnavailable: pytest does not start there, or its start has asked this; what it said
            is told.
    """
    if _FILE in os.environ:
        raise BackendUnavailable(
            "the backends were asked for while they were being asked for, by a conftest or plugin "
            "that does so as it is imported. Let it ask in a function that is called later."
        )
    with tempfile.TemporaryDirectory(prefix="gpuexp-") as place:
        file = Path(place) / "names.json"
        words = [sys.executable, "-m", "pytest", "-p", "pytest_gpuexp.offers", *options]
        try:
            done = subprocess.run(
                words,
                cwd=folder,
                env={**errands.environment(), _FILE: str(file)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BackendUnavailable(
                f"pytest did not say within {_SECONDS:.0f} s which backends {folder} knows. See "
                "what holds it up there: pytest --collect-only"
            ) from None
        except OSError as error:
            raise BackendUnavailable(
                f"pytest cannot be started in {folder}: {error.strerror}. Name the folder of a "
                "project."
            ) from None
        if not file.is_file():
            output = done.stdout.decode(errors="replace").strip()
            raise BackendUnavailable(
                f"pytest does not start in {folder}, so its backends are not known: "
                f"{output[-2000:] or f'exit code {done.returncode}'}"
            )
        names: list[str] = json.loads(file.read_text())
    return names
