"""One command in a fresh process, timed, bounded in time, and nothing of it left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "GPUEXP_BENCH_MARK"
SETTLE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended; ``wall_s`` runs from its start until it was reaped."""

    wall_s: float
    returncode: int
    output: str
    timed_out: bool


def run_timed(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: float,
) -> Ended:
    """Run ``command`` in ``folder`` and wait for it, at most ``timeout_s``.

    What it has started itself, in whatever process group, bears a mark in its environment. It is
    given time to leave, so that it does not disturb the next command, and is then killed by pid.
    """
    mark = uuid.uuid4().hex
    late = threading.Event()
    log = folder / "output.txt"
    with log.open("wb") as out:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

        def end() -> None:
            late.set()
            _kill(process.pid, *_marked(mark))

        # wait(timeout=...) polls, up to 50 ms late: a timer leaves the wait exact.
        timer = threading.Timer(timeout_s, end)
        timer.start()
        try:
            returncode = process.wait()
            wall_s = time.perf_counter() - begun
        finally:
            timer.cancel()
            timer.join()
            _settle(process, mark)
    output = log.read_text(encoding="utf-8", errors="replace")
    return Ended(wall_s=wall_s, returncode=returncode, output=output, timed_out=late.is_set())


def _settle(process: subprocess.Popen[bytes], mark: str) -> None:
    if process.poll() is None:
        _kill(process.pid)
        process.wait()
    deadline = time.monotonic() + SETTLE_S
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    _kill(*left)


def _marked(mark: str) -> list[int]:
    """Return the processes that bear ``mark``; none where there is no /proc."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
        except OSError:
            continue  # It has ended, or is another user's.
    return found


def _kill(*pids: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # It has ended by itself.
