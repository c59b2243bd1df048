"""The command ``gpuexp deploy``."""

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
        return Answer(text=deploying.deploy())

    asked = commands.add_parser(
        "deploy",
        help="put this project's app on Modal",
        description="Deploy the app in which runs of --backend=modal execute: the image, a "
        "function a tier, secrets and volumes, as [tool.gpuexp] of pyproject.toml says. The "
        "project's code is not in it: it travels with each session.",
    )
    asked.set_defaults(act=act)
