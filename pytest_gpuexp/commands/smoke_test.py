"""The command ``gpuexp smoke-test``."""

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
        shown = deploying.within(lambda app: app.show_container())
        return Answer(text=shown.text, code=0 if shown.passed else 1)

    asked = commands.add_parser(
        "smoke-test",
        help="start one container on Modal, and say what it has",
        description="Start one container of the debug tier and say which Python, PyTorch, CUDA "
        "and GPU it has, and whether they work together. Nothing needs to be deployed.",
    )
    asked.set_defaults(act=act)
