"""A snapshot's children, as its supervisor knows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_gpuexp.records import Status
from pytest_gpuexp.wire import Channel, Message


@dataclass(slots=True)
class Child:
    """A process that waits for an attempt, or executes one."""

    pid: int
    channel: Channel
    pidfd: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a child ended that had not reported."""

    job: str
    task: Message
    waitstatus: int
    killed_for: Status | None
    oom_kills: int
    started: float
    devices: Sequence[str]


@dataclass(slots=True, kw_only=True)
class Running:
    """A child at work: on what, since when (Unix), and until when (by the loop's clock).

    Its handler has ``ended`` while its result is still on the way to the disk.
    """

    child: Child
    task: Message
    devices: tuple[str, ...]
    started: float
    deadline: float | None
    kill_at: float | None = None
    killed_for: Status | None = None
    ended: bool = False
    reported: bool = False


class Leases(Protocol):
    """What hands out GPUs."""

    def acquire(self, count: int) -> tuple[str, ...] | None:
        """Return ``count`` tokens, or None where so many are not free now."""
        ...

    def release(self, tokens: Sequence[str]) -> None:
        """Give ``tokens`` back."""
        ...


def kind_of(task: Message) -> tuple[str, ...]:
    """Return what distinguishes the handlers of tasks, and the names of their parameters."""
    spec = task["attempt"]["spec"]
    return (spec["path"], spec["function"], *spec["parameters"])
