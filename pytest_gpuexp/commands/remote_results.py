"""The command ``gpuexp results``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_gpuexp.answers import Answer
from pytest_gpuexp.backends import deploying

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands


def add(commands: Commands) -> None:
    """Add the command."""

    def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
        return Answer(text=deploying.list_results(deploying.read_here().modal))

    asked = commands.add_parser(
        "results",
        help="list what experiments have left on Modal's results volume",
        description="List what experiments have left on the results volume, one a line.",
    )
    asked.set_defaults(act=act)
