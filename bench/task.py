"""One thing to time: which work, how many runs of it, and the folder it may write in."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

Work = Literal["noop", "torch", "large", "collect", "unused"]
WORKS: tuple[Work, ...] = ("noop", "torch", "large", "collect", "unused")
Body = Callable[[int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A command's errand; ``folder`` is new and empty, and is removed afterwards."""

    work: Work
    runs: int
    folder: Path

    def body_module(self) -> str:
        """Return the dotted name of the module whose ``work(seed)`` is done in each run."""
        return "bench.body_torch" if self.work == "torch" else "bench.body_noop"

    def body(self) -> Body:
        """Import that module, torch with it where the work asks for it, and return its function."""
        return cast(Body, importlib.import_module(self.body_module()).work)

    def script(self, module: str) -> list[str]:
        """Return the command that runs ``module`` on this task; see ``from_command_line``."""
        return [sys.executable, "-m", module, self.work, str(self.runs), str(self.folder)]


def from_command_line() -> Task:
    """Return the task that this process was started for."""
    work, runs, folder = sys.argv[1:]
    return Task(work=cast(Work, work), runs=int(runs), folder=Path(folder))
