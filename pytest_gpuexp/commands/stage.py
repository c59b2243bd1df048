"""The command ``gpuexp stage``."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gpuexp import errands, expansion, stage_words, stages
from pytest_gpuexp.answers import Answer
from pytest_gpuexp.errands import Terms
from pytest_gpuexp.errors import StorageError

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    asked = commands.add_parser(
        "stage",
        help="run a stage, its config changed as Hydra's overrides say",
        description="Run stages/NAME.yaml, or the file NAME. Words such as learning_rate=1e-4,1e-3 "
        "change the stage; run_on_modal=true, backend=, storage=, parallelism= and resume=true say "
        "how it is run. The first word with a dash, behind --, and all that follow go to pytest.",
    )
    asked.add_argument("name", metavar="NAME", help="the stage, or its file")
    asked.add_argument("words", nargs="*", metavar="KEY=VALUE", help="overrides, as Hydra has them")
    asked.add_argument("--dry-run", action="store_true", help="say the sizes, and run nothing")
    asked.set_defaults(act=act)


def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
    """Run the stage in a session of pytest that has this terminal; its exit code is ours."""
    folder = Path.cwd()
    file = stages.read_stage(_find(folder, arguments.name))
    changes, options = _parted(arguments.words)
    asked = stage_words.apply_words(file, changes)
    groups = folder / asked.file.base_config_path if asked.file.base_config_path else None
    order = expansion.expand(asked.file.stage, asked.file.base_config, groups=groups, folder=folder)
    if arguments.dry_run:
        return Answer(text=f"stage {order.stage}: {order.sizes}")
    terms = dataclasses.replace(_terms(asked.session), options=options)
    words, place = errands.foreground(order, terms, root=folder)
    try:
        code = subprocess.run(words, cwd=folder, env=dict(environ), check=False).returncode
    finally:
        errands.clear(place)
    return Answer(text="", code=code)


def _parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides, none of which begins with a dash, and the words for pytest."""
    rest = itertools.dropwhile(lambda word: not word.startswith("-"), words)
    options = list(rest)
    return list(words[: len(words) - len(options)]), options


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / "stages" / f"{name}.yaml"):
        if path.is_file():
            return path
    known = sorted(path.stem for path in folder.glob("stages/*.yaml"))
    raise StorageError(
        f"there is no stage {name!r}; {os.path.join('stages', '')} holds: "
        f"{', '.join(known) or 'none'}. Name one of them, or a file."
    )


def _terms(session: Mapping[str, Any]) -> Terms:
    backend = "modal" if session.get("run_on_modal") else session.get("backend", "local")
    return Terms(
        backend=str(backend),
        storage=str(session.get("storage", "results")),
        parallelism=session.get("parallelism"),
        resume=bool(session.get("resume", False)),
    )
