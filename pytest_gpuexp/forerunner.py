"""The process of a snapshot, sent ahead: it starts while its session still makes up its mind."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from pytest_gpuexp.wire import Channel

MARK = "PYTEST_GPUEXP_WORKER"
"""Set in a worker's environment: a role that was only inferred once turned into a fork bomb."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A worker that waits for its greeting at the other end of ``channel``."""

    process: subprocess.Popen[bytes]
    channel: Channel
    output: IO[bytes]


class Forerunner:
    """A worker's process that is there before anybody has asked for it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Start it with ``environ``."""
        self._environ = dict(environ)
        self._worker: WorkerProcess | None = start_worker(environ)

    def take(self, environ: Mapping[str, str]) -> WorkerProcess | None:
        """Return the process, once; None where it has ended, or ``environ`` has changed since."""
        if (
            self._worker is None
            or self._environ != environ
            or self._worker.process.poll() is not None
        ):
            self.dismiss()
            return None
        worker, self._worker = self._worker, None
        return worker

    def dismiss(self) -> None:
        """End it, unless it was taken."""
        if self._worker is not None:
            self._worker.process.kill()
            self._worker.process.wait()
            self._worker.channel.close()
            self._worker.output.close()
            self._worker = None


def start_worker(environ: Mapping[str, str]) -> WorkerProcess:
    """Start a worker in a session of its own, which no Ctrl-C of ours reaches."""
    ours, theirs = socket.socketpair()
    output = tempfile.TemporaryFile()  # noqa: SIM115 -- open for as long as the worker
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest_gpuexp.worker", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={
            **environ,
            # Threads begun by an import would be missing in a forked child, which then hangs.
            **dict.fromkeys(THREADS, "1"),
            "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
            MARK: "1",
        },
    )
    theirs.close()
    return WorkerProcess(process, Channel(ours), output)
