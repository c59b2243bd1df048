"""What libraries import only when it is first used: in a forked child that would be once a run."""

from __future__ import annotations

import contextlib
import io
import tokenize
from collections.abc import Collection, Sequence

MODULES = frozenset({"torch._dynamo"})
"""Imported by torch at a process's first optimizer, and as slow to import as torch itself."""


def foreseen(source: str, loaded: Collection[str]) -> Sequence[str]:
    """Return what the runs of an experiment file will import, as far as its text tells.

    ``loaded`` are the names of the modules that are imported already.
    """
    if "torch" not in loaded or "torch._dynamo" in loaded or not _names(source, "optim"):
        return []
    return ["torch._dynamo"]


def _names(source: str, word: str) -> bool:
    """Return whether the code of ``source``, beside its texts and comments, has the name ``word``.

    So it has where it comes from elsewhere: an import in vain costs less than one in each run.
    """
    with contextlib.suppress(tokenize.TokenError, SyntaxError):  # whoever imports it tells why
        return any(
            token.type == tokenize.NAME and token.string == word
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
        )
    return False
