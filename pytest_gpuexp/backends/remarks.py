"""What the user should be told, once, of how runs on Modal went."""

from __future__ import annotations

import re

from pytest_gpuexp.records import ExperimentResult
from pytest_gpuexp.tiers import Tier

_MISSING = re.compile(r"No module named '[^']+'")


class Remarks:
    """Collects them in ``notices``, which only grows."""

    def __init__(self) -> None:
        """Have nothing to tell yet."""
        self.notices: list[str] = []
        self._told: set[str] = set()

    def look_at(self, result: ExperimentResult, tier: Tier) -> None:
        """Tell where Modal gave another GPU than that of ``tier``, or the image lacks a package."""
        wanted = tier.gpu.rstrip("!").split("-")[0]
        given = result.device or "cpu"
        if given != "cpu" and not given.startswith("GPU ") and wanted not in given:
            self._tell_once(f"asked for {wanted} and got {given}, which the records say")
        # Of an import within a handler, or at the top of a file, where pytest says it.
        if missing := _MISSING.search(result.error_message or ""):
            self._tell_once(
                f"{missing[0]}: it is not in the image. Where it is a package, add it to "
                "dependencies in [tool.gpuexp.modal] of pyproject.toml, and run: gpuexp deploy"
            )

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.notices.append(text)
