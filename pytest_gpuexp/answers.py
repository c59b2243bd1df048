"""What a ``gpuexp`` command answers, and how one is added to the parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The text for people or programs, and the exit code: 0 done, 1 something is wrong here."""

    text: str
    code: int = 0


Act = Callable[[argparse.Namespace, Mapping[str, str]], Answer]
"""What a command does, given its arguments and the environment.

Each room of a command has an ``add(commands)``, which adds its parser and sets ``act`` to one.
"""
