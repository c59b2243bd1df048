"""The order that a session's command line gives with ``--stage``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_gpuexp import expansion
from pytest_gpuexp.errors import GpuexpError, UsageProblems
from pytest_gpuexp.orders import Order
from pytest_gpuexp.overrides import Overrides

ORDER = pytest.StashKey[Order]()


def read_order(config: pytest.Config, file: str) -> Order:
    """Read the stage, and let the session collect its files; ``config.stash`` has the order.

    Raises:
        pytest.UsageError: it cannot be read, or names what is not there; all problems.
    """
    folder = Path(config.invocation_params.dir)
    try:
        order = expansion.read_order(folder / file, folder=folder)
    except GpuexpError as error:
        raise pytest.UsageError(f"--stage={file}: {error}") from None
    config.stash[ORDER] = order
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args[:] = []  # pytest's own choice, which is not about the stage
    given = [Path(os.path.abspath(folder / word.partition("::")[0])) for word in config.args]
    for path in order.paths:
        if not any(path.is_relative_to(one) for one in given):
            config.args.append(str(path))
    return order


def order_of(config: pytest.Config, overrides: Overrides) -> Order | None:
    """Return the session's order, if it has one.

    Raises:
        UsageProblems: the command line says of a sweep what the stage says already.
    """
    order = config.stash.get(ORDER, None)
    if order is not None and (overrides.seeds or overrides.axes or overrides.added):
        told = "--seeds, --seed and --sweep change what files define; change the stage instead"
        raise UsageProblems("--stage", [told])
    return order
