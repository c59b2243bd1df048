"""What a project's own pytest knows, asked by a program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gpuexp import errands
from pytest_gpuexp.errors import BackendUnavailable

_FILE = "PYTEST_GPUEXP_OFFERS"
STORAGE = "PYTEST_GPUEXP_STORAGE"
_OPTION = re.compile("--(gpuexp-)?storage")
_OPTION_OR_INI = re.compile("--(gpuexp-)?storage|gpuexp_storage")
_SECONDS = 120.0
_TOPICS = {"backends": "which backends", "storage": "which storage"}
_SETTINGS = (
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
)


def backends_of(folder: Path, options: Sequence[str] = ()) -> list[str]:
    """Return the names of the backends that a session in ``folder`` knows, built-in ones first.

    ``options`` are further words for pytest, which is started in a process of its own.

    Raises:
        BackendUnavailable: pytest does not start there, or its start has asked this; what it said
            is told.
    """
    names: list[str] = _ask("backends", folder, options)
    return names


def storage_of(folder: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the storage of sessions in ``folder``, None where neither they nor ``environ`` say.

    pytest is asked only where a file that it may read, or PYTEST_ADDOPTS, speaks of one.

    Raises:
        BackendUnavailable: as in ``backends_of``.
    """
    here, named = folder.resolve(), environ.get(STORAGE)
    files = [one / name for one in (here, *here.parents) for name in _SETTINGS]
    told = [environ.get("PYTEST_ADDOPTS", ""), *map(_text, files)]
    # The environment outranks the ini file, and is outranked by options, there as well.
    telling = _OPTION if named else _OPTION_OR_INI
    if not any(map(telling.search, told)):
        return named
    asked: str | None = _ask(
        "storage", folder, hint=f" Or name it: as the command's argument, or in {STORAGE}."
    )
    return asked


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError:
        return ""


def _ask(question: str, folder: Path, options: Sequence[str] = (), *, hint: str = "") -> Any:
    """Return what the pytest of ``folder`` answers to one of ``_TOPICS``."""
    topic = _TOPICS[question]
    if _FILE in os.environ:
        raise BackendUnavailable(
            f"pytest was asked {topic} it knows while it was being asked, by a conftest or plugin "
            "that does so as it is imported. Let it ask in a function that is called later."
        )
    with tempfile.TemporaryDirectory(prefix="gpuexp-") as place:
        file = Path(place) / f"{question}.json"
        words = [sys.executable, "-m", "pytest", "-p", "pytest_gpuexp.offers", *options]
        try:
            done = subprocess.run(
                words,
                cwd=folder,
                env={
                    **errands.environment(),
                    _FILE: str(file),
                    # Whoever measures coverage by the ini file keeps what was measured.
                    "COVERAGE_FILE": str(Path(place) / "coverage"),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BackendUnavailable(
                f"pytest did not say within {_SECONDS:.0f} s {topic} {folder} knows. See what "
                "holds it up there: pytest --collect-only"
            ) from None
        except OSError as error:
            raise BackendUnavailable(
                f"pytest cannot be started in {folder}: {error.strerror}. Name the folder of a "
                "project."
            ) from None
        if not file.is_file():
            output = done.stdout.decode(errors="replace").strip()
            raise BackendUnavailable(
                f"pytest does not start in {folder}, and cannot say {topic} it knows: "
                f"{output[-2000:] or f'exit code {done.returncode}'}{hint}"
            )
        return json.loads(file.read_text())
