"""Wakes those who wait for something to change."""

from __future__ import annotations

import asyncio
from collections import defaultdict


class Bells:
    """One bell a name; ringing it wakes all who wait for it now."""

    def __init__(self) -> None:
        """Start with nobody waiting."""
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def ring(self, name: str) -> None:
        """Wake those who wait for ``name``."""
        for waiting in self._waiting.pop(name, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self, name: str, seconds: float) -> bool:
        """Return whether ``name`` was rung within ``seconds``."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name].add(waiting)
        try:
            await asyncio.wait_for(waiting, max(seconds, 0.0))
        except TimeoutError:
            return False
        finally:
            self._waiting[name].discard(waiting)
            if not self._waiting[name]:
                del self._waiting[name]
        return True
