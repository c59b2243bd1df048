"""What libraries import only when it is first used: in a forked child that would be once a run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Sequence

MODULES = frozenset({"torch._dynamo"})
"""Imported by torch at a process's first optimizer, and as slow to import as torch itself."""

_OPTIMIZERS = re.compile(r"\boptim\b")


def foreseen(source: str, loaded: Collection[str]) -> Sequence[str]:
    """Return what the runs of an experiment file will import, as far as its text tells.

    ``loaded`` are the names of the modules that are imported already.
    """
    if "torch" not in loaded or "torch._dynamo" in loaded or not _OPTIMIZERS.search(source):
        return []
    return ["torch._dynamo"] if _takes_optimizers(source) else []


def _takes_optimizers(source: str) -> bool:
    """Return whether the code of ``source`` names ``torch.optim``, beside its texts and comments.

    A name ``optim`` alone counts as well: it may come from elsewhere.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # they are told where the file is imported
            nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # whoever imports the file tells why
    imported = [one for one in nodes if isinstance(one, ast.Import) for one in one.names]
    modules = {one.name for one in imported}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    if any(f"{module}.".startswith("torch.optim.") for module in modules):
        return True
    torch = {"torch", *(one.asname for one in imported if one.name == "torch")}
    taken = [one for one in nodes if isinstance(one, ast.Attribute) and one.attr == "optim"]
    if any(isinstance(one.value, ast.Name) and one.value.id in torch for one in taken):
        return True
    return any(isinstance(one, ast.Name) and one.id == "optim" for one in nodes)
