"""The command ``gpuexp doctor``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pytest_gpuexp import doctor
from pytest_gpuexp.answers import Answer

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands

_TITLES = {"core": "Core", "compute": "Compute", "extra": "Extras"}


def add(commands: Commands, *, look: Callable[[Mapping[str, str]], doctor.Machine]) -> None:
    """Add the command; ``look`` sees what this machine has."""

    def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
        findings = doctor.diagnose(look(environ))
        healthy = not any(finding.broken for finding in findings)
        told = {"healthy": healthy, "findings": [dataclasses.asdict(one) for one in findings]}
        text = json.dumps(told, indent=2) if arguments.json else describe(findings)
        return Answer(text=text, code=0 if healthy else 1)

    asked = commands.add_parser(
        "doctor",
        help="say what this machine offers to experiments",
        description="Say which Python, pytest, torch, GPUs and extras are here, and what is not.",
    )
    asked.add_argument("--json", action="store_true", help="print JSON, for programs")
    asked.set_defaults(act=act)


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
