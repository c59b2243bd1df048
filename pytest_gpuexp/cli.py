"""The command ``gpuexp``."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from pytest_gpuexp import doctor

_TITLES = {"core": "Core", "compute": "Compute", "extra": "Extras"}


def main(
    argv: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    look: Callable[[Mapping[str, str]], doctor.Machine] = doctor.look,
) -> int:
    """Run ``gpuexp`` with ``argv`` (default: the command line's) and return its exit code.

    0: done; 1: the doctor found that something the core needs is missing. A wrong command line
    leaves by ``SystemExit`` with 2, as argparse does.
    """
    arguments = _parser().parse_args(argv)
    findings = doctor.diagnose(look(os.environ if environ is None else environ))
    healthy = not any(finding.broken for finding in findings)
    if arguments.json:
        told = {"healthy": healthy, "findings": [dataclasses.asdict(one) for one in findings]}
        print(json.dumps(told, indent=2))
    else:
        print(describe(findings))
    return 0 if healthy else 1


def describe(findings: Sequence[doctor.Finding]) -> str:
    """Return ``findings`` as the text that people read, a section a topic."""
    width = max((len(finding.name) for finding in findings), default=0)
    lines: list[str] = []
    for topic, group in groupby(findings, key=lambda finding: finding.topic):
        lines += ["", _TITLES[topic]] if lines else [_TITLES[topic]]
        for finding in group:
            mark = "!" if finding.broken else " "
            lines.append(f"{mark} {finding.name:<{width}}  {finding.value}")
            if finding.advice:
                lines.append(f"  {'':<{width}}  {finding.advice}")
    broken = [finding.name for finding in findings if finding.broken]
    verdict = f"To mend: {', '.join(broken)}." if broken else "All that the core needs is here."
    return "\n".join([*lines, "", verdict])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpuexp", description="Machine-learning experiments as tests; they run by pytest."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = commands.add_parser(
        "doctor",
        help="say what this machine offers to experiments",
        description="Say which Python, pytest, torch, GPUs and extras are here, and what is not.",
    )
    asked.add_argument("--json", action="store_true", help="print JSON, for programs")
    return parser


def _version() -> str:
    try:
        return f"{doctor.DISTRIBUTION} {importlib.metadata.version(doctor.DISTRIBUTION)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{doctor.DISTRIBUTION}, run from its source without being installed"
