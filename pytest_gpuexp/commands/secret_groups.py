"""The command ``gpuexp secrets``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_gpuexp import credentials
from pytest_gpuexp.answers import Answer
from pytest_gpuexp.backends import deploying, modal_door, modal_secrets
from pytest_gpuexp.credentials import Group
from pytest_gpuexp.project import Modal

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands


def add(commands: Commands) -> None:
    """Add the command."""

    def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
        settings = deploying.read_here().modal
        if not settings.secrets:
            return Answer(text="no secrets are wanted: secrets = [] in [tool.gpuexp.modal]")
        groups = credentials.gather(settings.secrets, environ)
        with modal_door.opened(settings):
            act_on = _check if arguments.check else _write
            told = [act_on(group, settings.environment) for group in groups]
            told += [_look_at(name, settings) for name in _others(groups, settings)]
        text = "\n".join(line for lines, _ in told for line in lines)
        return Answer(text=text, code=0 if all(fine for _, fine in told) else 1)

    asked = commands.add_parser(
        "secrets",
        help="create or update the secret groups on Modal from the environment",
        description="Create or update the secret groups of [tool.gpuexp.modal] on Modal, from "
        "this environment. Values go to Modal alone: they are not printed, logged, or put on a "
        "command line.",
    )
    asked.add_argument(
        "--check", action="store_true", help="change nothing; leave with 1 if something is missing"
    )
    asked.set_defaults(act=act)


def _write(group: Group, environment: str | None) -> tuple[Sequence[str], bool]:
    """Write a group; say what was done, and whether Modal has all of it now."""
    if group.missing:
        name, lacks = modal_secrets.find(group.name, environment)
        there = lacks == []
        left = f"stays as it is on Modal, as {name}" if there else "is not written"
        return [f"{'' if there else '! '}{group.name} {left}: {_missing(group)}"], there
    created = modal_secrets.write(group.name, group.values, environment)
    done = "created" if created else "updated"
    return [f"{group.name} {done}: {', '.join(group.values)}"], True


def _check(group: Group, environment: str | None) -> tuple[Sequence[str], bool]:
    name, lacks = modal_secrets.find(group.name, environment)
    there = _there(name, lacks)
    here = f"here: {_missing(group)}" if group.missing else "here: all that it needs"
    fine = not group.missing and lacks == []
    return [f"{'' if fine else '! '}{group.name}", f"    {here}", f"    on Modal: {there}"], fine


def _look_at(name: str, settings: Modal) -> tuple[Sequence[str], bool]:
    _, lacks = modal_secrets.find(name, settings.environment)
    fine = lacks is not None
    told = "is there" if fine else "is not there; make it with: modal secret create"
    return [f"{'' if fine else '! '}{name}, which is your own, {told}"], fine


def _others(groups: Sequence[Group], settings: Modal) -> list[str]:
    known = {group.name for group in groups}
    return [name for name in settings.secrets if name not in known]


def _there(name: str, lacks: Sequence[str] | None) -> str:
    if lacks is None:
        return "no such group"
    return f"{name} lacks {', '.join(lacks)}" if lacks else f"{name} has all that it needs"


def _missing(group: Group) -> str:
    told = [" or ".join(sources) for sources in group.missing.values()]
    return f"the environment lacks {', and '.join(told)}"
