"""Keeps the server's objects on disk, so that a server that is killed can go on."""

from __future__ import annotations

import base64
import dataclasses
import json
import sqlite3
from pathlib import Path
from typing import Any, TypeVar

from tests.modal_server import world

T = TypeVar("T")

KINDS: dict[str, type[Any]] = {
    "app": world.App,
    "function": world.Function,
    "class": world.Class,
    "call": world.Call,
    "input": world.Input,
    "container": world.Container,
    "secret": world.Secret,
    "volume": world.Volume,
    "mount": world.Mount,
    "image": world.Image,
    "log": world.LogLine,
    "named": world.Named,
    "entry": world.Entry,
}
_KIND_OF = {kind: name for name, kind in KINDS.items()}


class Keeper:
    """Writes each object through to a file; reads them all when a server starts."""

    def __init__(self, path: Path) -> None:
        """Open or create the file."""
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        # The server may be killed; the machine is not going to be.
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS objects"
            " (kind TEXT, id TEXT, body TEXT, PRIMARY KEY (kind, id))"
        )

    def save(self, item: Any) -> None:
        """Write ``item``; its first field is its identifier."""
        names = [each.name for each in dataclasses.fields(item)]
        body = json.dumps({name: _plain(getattr(item, name)) for name in names})
        row = (_KIND_OF[type(item)], str(getattr(item, names[0])), body)
        self._database.execute(
            "INSERT INTO objects VALUES (?, ?, ?) "
            "ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
            row,
        )

    def forget(self, item: Any) -> None:
        """Remove ``item``."""
        name = dataclasses.fields(item)[0].name
        row = (_KIND_OF[type(item)], str(getattr(item, name)))
        self._database.execute("DELETE FROM objects WHERE kind = ? AND id = ?", row)

    def load(self, kind: type[T]) -> list[T]:
        """Return all objects of a kind, in the order in which they were first written."""
        rows = self._database.execute(
            "SELECT body FROM objects WHERE kind = ? ORDER BY rowid", (_KIND_OF[kind],)
        )
        return [kind(**{k: _rich(v) for k, v in json.loads(body).items()}) for (body,) in rows]

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value


def _rich(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"b64"}:
        return base64.b64decode(value["b64"])
    return value
