"""What libraries import only when it is first used: in a forked child that would be once a run."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

MODULES = frozenset({"torch._dynamo"})
"""Imported by torch at a process's first optimizer, and as slow to import as torch itself."""

_OPTIMIZERS = re.compile(r"\boptim\b")


def foreseen(source: str, loaded: Collection[str]) -> Sequence[str]:
    """Return what the runs of an experiment file will import, as far as its text tells.

    ``loaded`` are the names of the modules that are imported already.
    """
    if "torch" in loaded and "torch._dynamo" not in loaded and _OPTIMIZERS.search(source):
        return ["torch._dynamo"]
    return []
