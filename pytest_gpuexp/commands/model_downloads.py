"""The command ``gpuexp download-models``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuexp import project, roots
from pytest_gpuexp.answers import Answer
from pytest_gpuexp.backends import deploying, model_cache

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands


def add(commands: Commands) -> None:
    """Add the command."""

    def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
        usual = project.read_project(roots.project_root(Path.cwd())).modal.download_models
        model_cache.split(arguments.models, usual)  # what is wrong is told before anything starts
        text, complete = deploying.within(lambda app: app.bring_models(arguments.models))
        return Answer(text=text, code=0 if complete else 1)

    asked = commands.add_parser(
        "download-models",
        help="bring models into the cache on Modal",
        description="Bring models into the volume that all runs on Modal see, so that none of "
        "them downloads any: snapshots from the Hugging Face hub, or folders of this machine.",
    )
    asked.add_argument(
        "--models",
        default="",
        metavar="A,B",
        help="names on the hub, or folders, by commas; default: download_models of pyproject.toml",
    )
    asked.set_defaults(act=act)
