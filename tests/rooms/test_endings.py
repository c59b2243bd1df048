"""How the end of a run is named."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from pytest_gpuexp.endings import message_of, status_of_exception, status_of_exit


def ended(waitstatus: int, **changes: Any) -> tuple[str, str, str]:
    told: dict[str, Any] = {
        "killed_for": None,
        "timeout_seconds": 90.0,
        "oom_kills": 0,
        "tail": "",
    }
    return status_of_exit(waitstatus, **{**told, **changes})


class OutOfMemoryError(Exception):
    """As torch has it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_a_lack_of_memory_is_known_by_its_type_or_its_words(error: BaseException) -> None:
    assert status_of_exception(error) == "oom"


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("no"), OSError("no")])
def test_all_other_exceptions_are_failures(error: BaseException) -> None:
    assert status_of_exception(error) == "failed"


def test_a_signal_is_named() -> None:
    told = ended(signal.SIGSEGV)

    assert told == (
        "failed",
        "SIGSEGV",
        "the run's process was killed by SIGSEGV (Segmentation fault)",
    )


def test_a_signal_without_a_name_keeps_its_number() -> None:
    assert ended(40)[1] == "signal 40"


def test_an_exit_code_is_told() -> None:
    status, error_type, message = ended(7 << 8)

    assert (status, error_type) == ("failed", "ProcessExit")
    assert "left with exit code 7 before its handler had returned" in message


def test_what_the_session_ended_is_not_a_failure_of_the_run() -> None:
    assert ended(signal.SIGTERM, killed_for="timeout") == (
        "timeout",
        "Timeout",
        "the run took longer than its timeout of 90 s and was ended; "
        "give it more by tier(timeout=...) or --run-timeout",
    )
    assert ended(signal.SIGKILL, killed_for="cancelled")[0] == "cancelled"


def test_a_kill_while_the_kernel_ended_processes_for_memory_is_taken_for_one_of_them() -> None:
    assert ended(signal.SIGKILL, oom_kills=1)[0] == "oom"
    assert ended(signal.SIGKILL)[0] == "failed"
    assert ended(signal.SIGSEGV, oom_kills=1)[0] == "failed"


def test_an_abort_after_words_of_lacking_memory_is_one_for_memory() -> None:
    status, _, message = ended(signal.SIGABRT, tail="terminate called\nstd: Out of memory\n")

    assert status == "oom"
    assert message.endswith("(SIGABRT): std: Out of memory")
    assert ended(signal.SIGABRT, tail="assertion failed")[0] == "failed"


def test_an_error_without_words_is_told_all_the_same() -> None:
    class Wordless(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert message_of(Wordless()) == "(its message cannot be told: ValueError)"
    assert message_of(KeyError("x")) == "'x'"
