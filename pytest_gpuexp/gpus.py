"""Which GPUs this process may hand out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_INDEX = re.compile(r"\d+")
_NAMED = re.compile(r"(GPU|MIG)-[0-9A-Za-z/-]+")


def visible_gpus(environ: Mapping[str, str], *, devices: Path = Path("/dev")) -> tuple[str, ...]:
    """Return tokens for ``CUDA_VISIBLE_DEVICES``, one a GPU: indices, UUIDs or MIG ids.

    A list set by the caller is taken at its word, and as CUDA does it ends at the first token
    that names no device. Without one, the driver's device files are counted.
    """
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        found = (path.name.removeprefix("nvidia") for path in devices.glob("nvidia*"))
        # Counted, not named: in a container the only GPU may be the host's fifth, and is CUDA's 0.
        return tuple(map(str, range(sum(name.isdigit() for name in found))))
    tokens: list[str] = []
    for token in (part.strip() for part in listed.split(",")):
        if not (_INDEX.fullmatch(token) or _NAMED.match(token)) or token in tokens:
            break
        tokens.append(token)
    return tuple(tokens)
