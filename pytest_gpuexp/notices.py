"""What the user should know, from whichever thread it comes, until it can be shown."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Notices:
    """Lines that wait until the main thread shows them, in the order in which they came."""

    def __init__(self, show: Callable[[str], object]) -> None:
        """Hold nothing; ``show`` shows one line, and belongs to the main thread."""
        self._show = show
        self._texts: list[str] = []

    def add(self, *texts: str) -> None:
        """Keep ``texts`` until they are taken."""
        self._texts += texts

    def tell(self, text: str) -> None:
        """Show ``text`` now where this is the main thread, which may be about to wait."""
        if threading.current_thread() is threading.main_thread():
            self._show(text)
        else:
            self.add(text)

    def take(self) -> list[str]:
        """Return what was kept since the last call."""
        texts = list(self._texts)  # threads may add some meanwhile
        del self._texts[: len(texts)]
        return texts
