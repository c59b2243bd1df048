"""A supervisor in a process of its own: it kills children that it does not know, as is its task.

``python supervisor_host.py FD PARALLELISM GPUS FOLDER``, its controller at the socket FD.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gpuexp import processes
from pytest_gpuexp.offspring import Child, Death
from pytest_gpuexp.supervisor import Supervisor
from pytest_gpuexp.wire import Channel, Message

GRACE_SECONDS = 0.3
CHILD = """
import json, os, signal, socket, subprocess, sys, time
end = socket.socket(fileno=int(sys.argv[1]))
task = json.loads(end.makefile().readline() or "null")
if task is None: os._exit(0)
answer = json.dumps({"of": task["job"], "on": task["devices"]}).encode() + b"\\n"
reply = lambda: end.sendall(answer)
do = task["do"]
if do == "ignore": signal.signal(signal.SIGTERM, signal.SIG_IGN)
if do in ("hang", "ignore"): time.sleep(60)
if do == "die": os.kill(os.getpid(), signal.SIGSEGV)
if do == "exit": os._exit(3)
if do == "commit":
    end.sendall(b'{"ended": true}\\n')
    time.sleep(60)
if do == "tarry": time.sleep(0.2)
if do == "daemon": subprocess.Popen(["sleep", "60"], start_new_session=True)
reply()
if do == "linger": time.sleep(60)
if do == "twice": reply()
os._exit(0)
"""


class Tokens:
    """Leases without a machine behind them."""

    def __init__(self, count: int) -> None:
        self.free = [str(number) for number in range(count)]

    def acquire(self, count: int) -> tuple[str, ...] | None:
        if count > len(self.free):
            return None
        taken, self.free = tuple(self.free[:count]), self.free[count:]
        return taken

    def release(self, tokens: Sequence[str]) -> None:
        self.free += tokens


def main() -> None:
    control = Channel(socket.socket(fileno=int(sys.argv[1])))
    tokens, folder = Tokens(int(sys.argv[3])), Path(sys.argv[4])
    processes.adopt_orphans()

    def launch() -> Child:
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", CHILD, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        process.returncode = 0  # the supervisor reaps by pid
        control.send({"launched": process.pid})
        return Child(process.pid, Channel(ours))

    def settle(death: Death) -> Mapping[str, Any]:
        (folder / death.job).touch()
        return {
            "died": death.waitstatus,
            "killed_for": death.killed_for,
            "started": death.started,
            "on": death.devices,
        }

    def take(order: Message) -> None:
        control.send({"order": order["op"], "free": sorted(tokens.free)})

    Supervisor(
        control,
        launch=launch,
        settle=settle,
        leases=tokens,
        parallelism=int(sys.argv[2]),
        grace_seconds=GRACE_SECONDS,
        clock=time.monotonic,
        wall_clock=lambda: 1000.0,
        on_order=take,
    ).serve()
    os._exit(0)


if __name__ == "__main__":
    main()
