"""The command ``gpuexp plan``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuexp import registry
from pytest_gpuexp.answers import Answer
from pytest_gpuexp.holdings import named_storage
from pytest_gpuexp.registry import Planned, Standing

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    asked = commands.add_parser(
        "plan",
        help="list the experiments of a registry, and where each stands",
        description="List the experiments of a registry with their sub-experiments, criteria, and "
        "what they wait for.",
    )
    asked.add_argument("--registry", default="research_plan.yaml", metavar="FILE", help="the file")
    asked.add_argument(
        "--storage",
        metavar="PLACE",
        help="where results are: a folder, or s3://bucket; else where sessions here put them",
    )
    asked.set_defaults(act=act)


def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
    """List what the registry has."""
    plan = registry.read_registry(Path(arguments.registry))
    known = registry.standings(plan, named_storage(arguments.storage, environ))
    return Answer(text=describe(plan, known))


def describe(plan: Mapping[str, Planned], known: Mapping[str, Standing]) -> str:
    """Return the plan as the text that people read."""
    lines: list[str] = []
    for identity, planned in plan.items():
        name = "" if planned.name == identity else f"  {planned.name}"
        lines.append(f"{identity}{name}  [{known[identity].told}]")
        lines += [f"  {planned.description}"] if planned.description else []
        lines += [
            f"  {sub}{f'  {told}' if told else ''}" for sub, told in planned.sub_experiments.items()
        ]
        for metric, one in planned.success_criteria.items():
            more = [("target", one.target), ("failure", one.failure)]
            told = "".join(f", {word} {value:g}" for word, value in more if value is not None)
            sign = ">=" if one.direction == "at_least" else "<="
            lines.append(f"  {metric} {sign} {one.acceptable:g}{told}")
        lines += [f"  {sentence}" for sentence in registry.unmet(plan, known, [identity])]
    return "\n".join(lines)
