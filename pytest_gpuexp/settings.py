"""What the options of a session come to, once read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pytest_gpuexp.tiers import TIERS, Tier

Isolation = Literal["auto", "fork", "spawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The choices of one session.

    ``parallelism`` is None for "auto" (visible GPUs, else cores). ``storage`` is as the user wrote
    it, relative to ``invocation_dir``. ``run_timeout`` is in seconds. ``gpus`` are the tokens of
    ``CUDA_VISIBLE_DEVICES`` that this session may hand out.
    """

    backend: str = "local"
    gpu: str | None = None
    parallelism: int | None = None
    isolation: Isolation = "auto"
    storage: str = "results"
    run_timeout: float | None = None
    grace_seconds: float = 5.0
    lease_seconds: float = 60.0  # of silence, after which a session of another machine is gone
    stub: bool = False
    dry_run: bool = False
    resume: bool = False  # never in stub mode
    any_code: bool = False
    rerun: Literal["failed", "stale", "all"] | None = None
    root: Path = field(default_factory=Path)
    invocation_dir: Path = field(default_factory=Path)
    gpus: tuple[str, ...] = ()
    cores: int = 1
    budget: float | None = None  # dollars
    detach: bool = False
    modal_ephemeral: bool = False
    tiers: Mapping[str, Tier] = field(default_factory=lambda: dict(TIERS))
    reason: str = ""  # why ``backend`` is not what was asked for
