"""How the end of a run is named."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from pytest_gpuexp.records import Status

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")


def status_of_exception(error: BaseException) -> Status:
    """Return ``oom`` for a lack of memory, of the host or of a GPU, and ``failed`` otherwise."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "oom"
    if isinstance(error, (RuntimeError, OSError)):
        text = message_of(error).lower()
        if any(words in text for words in _OUT_OF_MEMORY):
            return "oom"
    return "failed"


def message_of(error: BaseException) -> str:
    """Return what ``error`` says, or why it cannot."""
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 (somebody else's __str__ can do anything)
        return f"(its message cannot be told: {type(failure).__name__})"


def status_of_exit(
    waitstatus: int,
    *,
    killed_for: Status | None,
    timeout_seconds: float | None,
    oom_kills: int,
    tail: str,
) -> tuple[Status, str, str]:
    """Return status, error type and message of a worker that ended without a report.

    ``killed_for`` is why its supervisor ended it, None where it did not; ``timeout_seconds`` is
    what the run was given. ``oom_kills`` is how many
    processes the kernel ended for want of memory meanwhile. ``tail`` is the end of its output.
    """
    if killed_for is not None:
        return killed_for, *words_of_stop(killed_for, timeout_seconds)
    code = os.waitstatus_to_exitcode(waitstatus)
    if code >= 0:
        return (
            "failed",
            "ProcessExit",
            f"the run's process left with exit code {code} before its handler had returned "
            "(os._exit, or a library that ends the process)",
        )
    name = signal_name(-code)
    if -code == signal.SIGKILL and oom_kills:
        return "oom", name, f"the run's process was ended by the kernel for want of memory ({name})"
    if -code == signal.SIGTERM:
        return "preempted", *words_of_stop("preempted", timeout_seconds)
    lines = tail.strip().splitlines()
    if -code == signal.SIGABRT and lines and any(w in tail.lower() for w in _OUT_OF_MEMORY):
        return "oom", name, f"the run's process gave up for want of memory ({name}): {lines[-1]}"
    return "failed", name, f"the run's process was killed by {name} ({signal.strsignal(-code)})"


def words_of_stop(reason: Status, timeout_seconds: float | None) -> tuple[str, str]:
    """Return error type and message of a run that was asked to stop, or ended, for ``reason``."""
    if reason == "timeout":
        return (
            "Timeout",
            f"the run took longer than its timeout of {timeout_seconds or 0:g} s and was ended; "
            "give it more by tier(timeout=...) or --run-timeout",
        )
    if reason == "preempted":
        return (
            "Preempted",
            "the run's process was ended from outside by SIGTERM, as happens where a machine is "
            "taken away",
        )
    return "Cancelled", "the run was ended by the session"


def signal_name(number: int) -> str:
    """Return the name of a signal, as ``SIGSEGV``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def first_line(lines: Sequence[str]) -> str:
    """Return the first line that says something."""
    return next((line.strip() for line in lines if line.strip()), "")
