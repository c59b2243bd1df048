"""The plugin by which a project's pytest tells a program which backends it knows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_gpuexp.backend_names import known_backends
from pytest_gpuexp.errors import UsageProblems

FILE = "PYTEST_GPUEXP_OFFERS"  # where to, in the environment


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Tell in place of a session, once plugins and the first conftests are there."""
    file = os.environ.pop(FILE, None)
    if file is None:
        return None
    hook = getattr(config.hook, "pytest_gpuexp_backend_names", list)
    try:
        Path(file).write_text(json.dumps(known_backends(hook())))
    except UsageProblems as error:
        raise pytest.UsageError(str(error)) from None
    return 0
