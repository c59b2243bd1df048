"""Which call has an attempt: what stands under its claim (ADR 15)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

VOID = "void"  # the claim of an attempt that nobody will run
_WAIT_SECONDS = 0.2


async def settle(claims: Callable[[], Any], claim: str, *, seconds: float) -> str:
    """Let no call begin under ``claim`` any more.

    ``claims`` gives Modal's Dict of claims. Returns VOID, the id of the call that has begun before,
    or "" where nobody could say within ``seconds``: then either may be so.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(Exception):  # nobody can be reached
                    entries = claims()
                    if await entries.put.aio(claim, VOID, skip_if_exists=True):
                        return VOID
                    if holder := await entries.get.aio(claim):
                        return str(holder)
                await asyncio.sleep(_WAIT_SECONDS)
    return ""


def claimed_by(reply: str) -> str:
    """Return whom a call has found to have its claim, by its ``reply``; "" where it ran."""
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(reply).get("claimed_by", ""))
    return ""
