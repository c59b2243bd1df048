"""An app whose functions do nothing, for what the client itself takes."""

from __future__ import annotations

import modal

app = modal.App("bare")


@app.function(timeout=600)
def nothing(number: int) -> int:
    return number
