"""What a session sends ahead of its runs, so that a worker elsewhere becomes the same pytest."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = "{root}"  # stands for the project's folder, which is another one there
_SECRET = re.compile(
    r"(?i)token(?!i[sz]|s)|secret|passw|passphrase|api.?key|access.?key|credential"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Luggage:
    """A session as text, named after its content: ``bundle`` is the digest of the code's bundle."""

    digest: str
    bundle: str
    text: str


def pack(greeting: Mapping[str, Any], *, root: Path, bundle: str) -> Luggage:
    """Return ``greeting`` of a local worker, freed of this machine and of what only we read.

    Paths below ``root`` will lie below the bundle's folder there; import paths outside stay home,
    and so do options that may hold a secret.
    """
    options = {
        name: value
        for name, value in greeting["options"].items()
        if not name.startswith("gpuexp_") and not _SECRET.search(name)
    }
    kept = {
        **greeting,
        "options": {**options, "basetemp": None},
        "sys_path": [path for path in greeting["sys_path"] if _is_below(path, root)],
        "folder": greeting["folder"] if _is_below(greeting["folder"], root) else str(root),
        "storage": "",
        "gpus": [],
        "parallelism": 1,
        "provenance": "",
        "commits": False,  # what a container's disk holds goes with it
    }
    told = {"bundle": bundle, "greeting": _moved(kept, str(root), _ROOT)}
    text = json.dumps(told, sort_keys=True)
    return Luggage(digest=hashlib.sha256(text.encode()).hexdigest(), bundle=bundle, text=text)


def unpack(
    text: str, *, root: Path, storage: Path, gpus: Sequence[str], sys_path: Sequence[str]
) -> dict[str, Any]:
    """Return the greeting for a worker of this machine, whose project lies in ``root``."""
    greeting: dict[str, Any] = _moved(json.loads(text)["greeting"], _ROOT, str(root))
    greeting["sys_path"] = list(dict.fromkeys([*greeting["sys_path"], *sys_path]))
    return {**greeting, "storage": str(storage), "gpus": list(gpus)}


def bundle_of(text: str) -> str:
    """Return the digest of the bundle that goes with a packed session."""
    return str(json.loads(text)["bundle"])


def _is_below(path: str, root: Path) -> bool:
    return path == str(root) or path.startswith(f"{root}{os.sep}")


def _moved(value: Any, before: str, after: str) -> Any:
    """Return ``value`` with every path that begins with ``before`` below ``after``."""
    if isinstance(value, str):
        # An option may hold a path behind its name, as --rootdir=PATH.
        return re.sub(rf"(^|=){re.escape(before)}(?=$|/)", lambda m: m[1] + after, value)
    if isinstance(value, Mapping):
        return {name: _moved(one, before, after) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_moved(one, before, after) for one in value]
    return value
