"""The command ``gpuexp``."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from pytest_gpuexp import doctor
from pytest_gpuexp.commands import (
    cancelling,
    checkup,
    deploy,
    listing,
    model_downloads,
    plan,
    remote_results,
    run,
    secret_groups,
    serve,
    showing,
    smoke_test,
    stage,
)
from pytest_gpuexp.errors import GpuexpError


def main(
    argv: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    look: Callable[[Mapping[str, str]], doctor.Machine] = doctor.look,
) -> int:
    """Run ``gpuexp`` with ``argv`` (default: the command line's) and return its exit code.

    0: done; 1: it found that something is wrong; 2: it could not do what was asked, and stderr says
    why. A wrong command line leaves by ``SystemExit`` with 2, as argparse does.
    """
    arguments = _parser(look).parse_args(argv)
    try:
        answer = arguments.act(arguments, os.environ if environ is None else environ)
    except GpuexpError as error:
        print(f"gpuexp {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"gpuexp {arguments.command}: interrupted", file=sys.stderr)
        return 2
    if answer.text:
        print(answer.text)
    return int(answer.code)


def _parser(look: Callable[[Mapping[str, str]], doctor.Machine]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpuexp", description="Machine-learning experiments as tests; they run by pytest."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    checkup.add(commands, look=look)
    listing.add(commands)
    showing.add(commands)
    cancelling.add(commands)
    plan.add(commands)
    run.add(commands)
    stage.add(commands)
    deploy.add(commands)
    serve.add(commands)
    secret_groups.add(commands)
    smoke_test.add(commands)
    model_downloads.add(commands)
    remote_results.add(commands)
    return parser


def _version() -> str:
    try:
        return f"{doctor.DISTRIBUTION} {importlib.metadata.version(doctor.DISTRIBUTION)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{doctor.DISTRIBUTION}, run from its source without being installed"
