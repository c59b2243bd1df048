"""The plugin by which a project's pytest tells a program what it knows."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp.asked import asked_for
from pytest_gpuexp.backend_names import known_backends
from pytest_gpuexp.errors import UsageProblems

FILE = "PYTEST_GPUEXP_OFFERS"  # where to, in the environment; named after the question


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Tell in place of a session, once plugins and the first conftests are there."""
    file = os.environ.pop(FILE, None)
    if file is None:
        return None
    Path(file).write_text(json.dumps(_ANSWERS[Path(file).stem](config)))
    return 0


def _backends(config: pytest.Config) -> list[str]:
    hook = getattr(config.hook, "pytest_gpuexp_backend_names", list)
    try:
        return known_backends(hook())
    except UsageProblems as error:
        raise pytest.UsageError(str(error)) from None
    # The project's own code may raise anything, and pytest would tell it by its own frames.
    except Exception as error:  # noqa: BLE001
        place = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        raise pytest.UsageError(f"pytest_gpuexp_backend_names raised {told}") from None


def _storage(config: pytest.Config) -> str | None:
    try:
        return asked_for(config, "storage")
    except ValueError:  # sessions of this project leave the plugin out, and know no such setting
        return None


_ANSWERS: Mapping[str, Callable[[pytest.Config], Any]] = {
    "backends": _backends,
    "storage": _storage,
}
