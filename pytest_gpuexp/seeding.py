"""How the random number generators of a run are seeded."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any


def seed_everything(seed: int, modules: Mapping[str, Any] = sys.modules) -> None:
    """Seed ``random``, and numpy and torch where they are imported; CUDA follows torch.

    numpy's legacy generator takes 32 bits, so the seed goes in modulo 2**32.
    """
    random.seed(seed)
    if "numpy" in modules and hasattr(modules["numpy"], "random"):
        modules["numpy"].random.seed(seed % 2**32)  # numpy imports its generators only when asked
    if "torch" in modules and hasattr(modules["torch"], "manual_seed"):
        modules["torch"].manual_seed(seed)
