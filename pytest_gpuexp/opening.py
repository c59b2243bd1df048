"""How the rooms of a session are put together."""

from __future__ import annotations

import pytest

from pytest_gpuexp import terminal
from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.session import Controller


def open_controller(config: pytest.Config, taken: list[str]) -> Controller:
    """Make the controller of a session with its display; ``taken`` are short options it lacks.

    Raises:
        pytest.UsageError: the options make no sense.
    """
    key_metrics: dict[str, list[str]] = {}
    display = terminal.build(config, key_metrics=key_metrics)
    try:
        return Controller(config, display, key_metrics=key_metrics, taken=taken)
    except GpuexpError as error:
        raise pytest.UsageError(str(error)) from None
