"""The command ``gpuexp serve``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_gpuexp.answers import Answer
from pytest_gpuexp.backends import deploying

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands


def add(commands: Commands) -> None:
    """Add the command."""

    def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
        settings = deploying.load().PROJECT.modal  # what is wrong is told before anything starts
        chosen = ["--env", settings.environment] if settings.environment else []
        words = [sys.executable, "-m", "modal", "serve", "-m", deploying.APP, *chosen]
        try:
            return Answer(text="", code=subprocess.run(words, check=False).returncode)
        except KeyboardInterrupt:  # Ctrl-C reaches modal as well, and is how one ends it
            return Answer(text="")

    asked = commands.add_parser(
        "serve",
        help="keep this project's app on Modal for as long as this runs, reloading it",
        description="Run the app until Ctrl-C, and put it there anew whenever the plugin's source "
        "or another file in its image changes, as `modal serve` does.",
    )
    asked.set_defaults(act=act)
