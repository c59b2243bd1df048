"""What a plan must know of a record, read without YAML where we wrote it and it is whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast, get_args

from pytest_gpuexp import sealing
from pytest_gpuexp.plan import Glance
from pytest_gpuexp.records import Status
from pytest_gpuexp.schema import VERSION

# Our writer puts one key on a line, top-level ones at its start, and indents all that they hold.
_LINES = re.compile(
    rb"^(?:(version|status|stub): ([a-z0-9]+)|fingerprint:((?:\n  [^\n]+)+))$", re.MULTILINE
)
_ENTRY = re.compile(r"  ([\w./ -]+): ('?)([0-9a-f]+)\2")


def read_head(data: bytes) -> Glance | None:
    """Return the glance of a record; None where only a reader of YAML can tell."""
    if not sealing.is_sealed(data):
        return None
    found: dict[str, str] = {}
    fingerprint: Mapping[str, str] | None = {}
    for key, value, block in _LINES.findall(data):
        if key:
            found[key.decode()] = value.decode()
        elif block:
            fingerprint = _entries(block.decode())
    status = found.get("status")
    if found.get("version") != str(VERSION) or status not in get_args(Status):
        return None
    if fingerprint is None:
        return None
    stub = found.get("stub") == "true"
    return Glance(status=cast(Status, status), stub=stub, fingerprint=fingerprint)


def _entries(block: str) -> dict[str, str] | None:
    """Return the entries of a mapping to digests; None where one looks different."""
    entries = [_ENTRY.fullmatch(line) for line in block.split("\n")[1:]]
    if not all(entries):
        return None
    return {entry[1]: entry[3] for entry in entries if entry}
