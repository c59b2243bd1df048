"""All that one server holds: its objects by identifier, its files, its settings."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from grpclib import GRPCError, Status

from tests.modal_server import bells, keeping, world

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Settings:
    """How a server was started."""

    root: Path
    port: int
    control_port: int
    max_containers: int = 8
    token_id: str = "ak-test"
    token_secret: str = "as-test"
    grace: float = 5.0
    preemption_grace: float = 30.0
    pass_env: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Fault:
    """What befalls the next ``left`` RPCs called ``name``; ``lost``: what they ask for is done."""

    name: str
    left: int
    delay: float = 0.0
    status: str = ""
    message: str = ""
    lost: bool = False


@dataclass(slots=True)
class Holdings:
    """The objects of a server; each change is saved before an answer tells of it."""

    settings: Settings
    keeper: keeping.Keeper
    apps: dict[str, world.App] = field(default_factory=dict)
    functions: dict[str, world.Function] = field(default_factory=dict)
    classes: dict[str, world.Class] = field(default_factory=dict)
    calls: dict[str, world.Call] = field(default_factory=dict)
    inputs: dict[str, world.Input] = field(default_factory=dict)
    containers: dict[str, world.Container] = field(default_factory=dict)
    secrets: dict[str, world.Secret] = field(default_factory=dict)
    volumes: dict[str, world.Volume] = field(default_factory=dict)
    mounts: dict[str, world.Mount] = field(default_factory=dict)
    images: dict[str, world.Image] = field(default_factory=dict)
    logs: dict[int, world.LogLine] = field(default_factory=dict)
    named: dict[str, world.Named] = field(default_factory=dict)
    entries: dict[str, world.Entry] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    journal: list[dict[str, Any]] = field(default_factory=list)
    bells: bells.Bells = field(default_factory=bells.Bells)

    def shelves(self) -> dict[type[Any], dict[Any, Any]]:
        """Return where the objects of each kind are."""
        return {
            world.App: self.apps,
            world.Function: self.functions,
            world.Class: self.classes,
            world.Call: self.calls,
            world.Input: self.inputs,
            world.Container: self.containers,
            world.Secret: self.secrets,
            world.Volume: self.volumes,
            world.Mount: self.mounts,
            world.Image: self.images,
            world.LogLine: self.logs,
            world.Named: self.named,
            world.Entry: self.entries,
        }

    def folder(self, *parts: str) -> Path:
        """Return a folder below the root, made where it was missing."""
        folder = self.settings.root.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def note(self, event: str, **what: Any) -> None:
        """Write into the journal what was asked for; values of secrets never stand in it."""
        entry = {"event": event, "at": time.time(), **what}
        self.journal.append(entry)
        with _journal(self.settings).open("a") as file:
            file.write(json.dumps(entry) + "\n")

    @property
    def files_url(self) -> str:
        """Where blobs and blocks are put and got."""
        return f"http://127.0.0.1:{self.settings.control_port}"


def opened(settings: Settings) -> Holdings:
    """Return what lies in the root of ``settings``; nothing, in a fresh one."""
    settings.root.mkdir(parents=True, exist_ok=True)
    holdings = Holdings(settings, keeping.Keeper(settings.root / "state.sqlite"))
    for kind, shelf in holdings.shelves().items():
        for item in holdings.keeper.load(kind):
            shelf[getattr(item, next(iter(kind.__slots__)))] = item
    if _journal(settings).exists():
        lines = _journal(settings).read_text().splitlines()
        holdings.journal.extend(json.loads(line) for line in lines)
    return holdings


def _journal(settings: Settings) -> Path:
    return settings.root / "journal.jsonl"


def found(shelf: dict[str, T], object_id: str, what: str) -> T:
    """Return an object by its identifier.

    Raises:
        GRPCError: there is none; NOT_FOUND, as the service answers.
    """
    try:
        return shelf[object_id]
    except KeyError:
        raise GRPCError(Status.NOT_FOUND, f"{what} with id {object_id!r} not found.") from None
