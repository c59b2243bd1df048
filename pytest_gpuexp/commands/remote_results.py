"""The command ``gpuexp results``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_gpuexp.answers import Answer
from pytest_gpuexp.backends import deploying

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands


def add(commands: Commands) -> None:
    """Add the command."""

    def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
        settings = deploying.read_here().modal
        if arguments.prune is not None:
            return Answer(text=deploying.prune(settings, days=arguments.prune, now=time.time()))
        return Answer(text=deploying.list_results(settings))

    asked = commands.add_parser(
        "results",
        help="list what experiments have left on Modal's results volume, or remove old files",
        description="List what experiments have left on the results volume, one a line.",
    )
    asked.add_argument(
        "--prune",
        type=int,
        metavar="DAYS",
        help="remove the bundles of code and the copies of large files that are so old, from "
        f"{deploying.LEAST_DAYS} days on; reports and what --storage=modal:// keeps stay",
    )
    asked.set_defaults(act=act)
