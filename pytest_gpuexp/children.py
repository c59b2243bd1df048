"""How a child of the snapshot begins and ends: forked with all modules, or exec'd without."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pytest_gpuexp import processes, put_off
from pytest_gpuexp.offspring import Child
from pytest_gpuexp.records import Status
from pytest_gpuexp.seeding import seed_everything
from pytest_gpuexp.stopping import Stopping
from pytest_gpuexp.wire import Channel, Message

Execute = Callable[[Message, Channel], Mapping[str, Any]]

_USUAL = gc.get_threshold()
_SELDOM = (100_000, *_USUAL[1:])  # who multiplies them gets what he gets elsewhere
_LARGE_BYTES = 512 << 20


def fork_child(execute: Execute, close: Callable[[], Sequence[int]]) -> Child:
    """Fork a child that waits for one task, executes it and leaves; return the parent's hold of it.

    ``close`` names the descriptors that belong to the parent alone.
    """
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        theirs.close()
        return Child(pid, Channel(ours))
    code = 70
    try:
        for number in [ours.fileno(), *close()]:
            with contextlib.suppress(OSError):
                os.close(number)
        ours.detach()
        serve_one(Channel(theirs), execute)
        code = 0
    finally:
        # Not sys.exit: a normal end of a torch process costs 0.27 s, and would run atexit hooks
        # and the finally blocks of the snapshot's own frames.
        os._exit(code)


def exec_child(words: Sequence[str], greeting: Mapping[str, Any]) -> Child:
    """Start a fresh interpreter that waits for one task after ``greeting``."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [*words, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    theirs.close()
    process.returncode = 0  # the supervisor reaps by pid; subprocess must not
    channel = Channel(ours)
    channel.send(greeting)
    return Child(process.pid, channel)


def serve_one(channel: Channel, execute: Execute) -> None:
    """Be the child: wait for a task, execute it as a session leader, report."""
    me = os.getpid()
    with contextlib.suppress(PermissionError):  # an exec'd child leads a session already
        os.setsid()
    processes.adopt_orphans()
    # Without the snapshot nobody would enforce its timeout, or know which GPU it holds.
    processes.end_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, processes.END_RUNS):
        signal.signal(number, signal.SIG_DFL)
    task = channel.wait()
    if task is None:
        return
    _enter(task)
    known = put_off.MODULES & sys.modules.keys()
    outcome = execute(task, channel)
    if os.getpid() != me:
        os._exit(0)  # the handler forked and let its child come back here
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    if late := put_off.MODULES & sys.modules.keys() - known:
        channel.send({"imported": sorted(late)})  # the snapshot shares it with the next ones
    channel.send(outcome)


def say_ended(channel: Channel) -> bool:
    """Tell that only the record is left to write; the death of the snapshot does not stop it."""
    processes.outlive_parent()
    return channel.send({"ended": True})


def stopping(channel: Channel) -> Stopping:
    """Return the request to stop of the run whose supervisor is at the other end of ``channel``."""

    def why() -> Status | None:
        for line in channel.drain():
            return cast(Status, json.loads(line)["stop"])
        return None

    return Stopping(why=why, on_signal=lambda reason: bool(channel.send({"stopping": reason})))


def _enter(task: Message) -> None:
    """Make the process the run's own: its output, its devices, its threads."""
    if gc.get_threshold()[0] == _SELDOM[0]:  # else an experiment has set its own
        gc.set_threshold(*_USUAL)
    for name, value in task["environment"].items():
        os.environ[name] = value
    if task["devices"] or task["hide_gpus"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(task["devices"])
    log = _open_log(task["log"])
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with contextlib.suppress(AttributeError, ValueError, OSError):
        faulthandler.enable(file=2)
    _set_threads(task["threads"])


def _open_log(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


def _set_threads(count: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(count)
    if count > 1 and "threadpoolctl" in sys.modules:
        sys.modules["threadpoolctl"].threadpool_limits(count, user_api="blas")


def fork_hazard() -> str | None:
    """Return why a fork of this process would not be safe, or None.

    A thread that holds a lock at the fork leaves it locked in the child for ever; CUDA, once
    begun, does not work in a child at all. The second is asked of a child, where torch tells.
    """
    if sys.platform != "linux":
        return f"fork is not safe on {sys.platform}"
    main = threading.main_thread()
    names = [thread.name for thread in threading.enumerate() if thread is not main]
    native = len(os.listdir("/proc/self/task")) - 1
    if names:
        return f"importing the experiments started threads ({', '.join(names)})"
    if native > 0:
        return f"importing the experiments started {native} native threads"
    return _cuda_hazard()


def _cuda_hazard() -> str | None:
    if "torch" not in sys.modules:
        return None
    pid = os.fork()
    if not pid:
        code = 1
        with contextlib.suppress(BaseException):
            code = int(bool(sys.modules["torch"].cuda._is_in_bad_fork()))
        os._exit(code)
    _, waitstatus = os.waitpid(pid, 0)
    return "importing the experiments has begun to use CUDA" if waitstatus else None


def put_off_collections() -> None:
    """Let imports make their objects undisturbed: to look for garbage among them costs a tenth."""
    gc.set_threshold(*_SELDOM)


def settle_memory() -> None:
    """Do once what children would each do, and keep the collector off what they share.

    A collection in a child writes to every object's header, and so copies the snapshot's memory.
    None is made of a process of usual size: it takes 80 ms with torch, and leaves holes that
    children fill at that price. What is garbage in a large one would be so in every run.
    """
    seed_everything(0)  # imports the generators of numpy, which it puts off until they are used
    if processes.resident_bytes() > _LARGE_BYTES:
        gc.collect()
    gc.freeze()


def tail_of(path: Path, *, limit: int = 64 * 1024) -> str:
    """Return the last ``limit`` bytes of a run's output; "" where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return f"[... {size - limit} bytes before this are in {path}]\n{text}" if size > limit else text
