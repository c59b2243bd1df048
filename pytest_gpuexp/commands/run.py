"""The command ``gpuexp run``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuexp.answers import Answer

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands

_DEFAULT = "experiments"


def add(commands: Commands) -> None:
    """Add the command."""
    asked = commands.add_parser(
        "run",
        help="run experiments by their ids, in a session of pytest",
        description="Run pytest on experiments/, or on the paths given, with these choices. "
        "Words behind -- go to pytest as they are.",
    )
    asked.add_argument("paths", nargs="*", metavar="PATH", help="default: experiments/")
    asked.add_argument("--experiment-id", action="append", default=[], metavar="ID")
    asked.add_argument("--sub-experiment", action="append", default=[], metavar="ID")
    asked.add_argument("--registry", metavar="FILE")
    asked.add_argument("--backend", metavar="NAME")
    asked.add_argument("--stub-mode", action="store_true")
    asked.set_defaults(act=act)


def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
    """Run pytest; its exit code is ours."""
    words = [sys.executable, "-m", "pytest", *_words(arguments)]
    done = subprocess.run(words, env=dict(environ), check=False)
    return Answer(text="", code=done.returncode)


def _words(arguments: argparse.Namespace) -> list[str]:
    paths = list(arguments.paths)
    if not any(Path(word.partition("::")[0]).exists() for word in paths):
        paths = [*([_DEFAULT] if Path(_DEFAULT).is_dir() else []), *paths]
    chosen = [f"--gpuexp-experiment-id={one}" for one in arguments.experiment_id]
    chosen += [f"--gpuexp-sub-experiment={one}" for one in arguments.sub_experiment]
    chosen += [f"--gpuexp-registry={arguments.registry}"] if arguments.registry else []
    chosen += [f"--gpuexp-backend={arguments.backend}"] if arguments.backend else []
    chosen += ["--gpuexp-stub-mode"] if arguments.stub_mode else []
    return [*chosen, *paths]
