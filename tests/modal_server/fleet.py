"""The containers that run: started, watched, read, interrupted, killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import Callable

from modal_proto import api_pb2

from tests.modal_server import ending, launching, logs, wires, world
from tests.modal_server import holdings as holding

_CANCEL_GRACE = 10.0
"""So long a container may take to give up a cancelled input before it is killed."""
_SYSTEM = api_pb2.FILE_DESCRIPTOR_INFO


class Fleet:
    """Every container is a process, tied to the server by a wire."""

    def __init__(
        self, holdings: holding.Holdings, launcher: launching.Launcher, known: logs.Logs
    ) -> None:
        """Run containers that ``launcher`` starts; what they write goes to the logs ``known``."""
        self._holdings = holdings
        self._launcher = launcher
        self._logs = known
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._wires: dict[str, wires.Wire] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.cancels: defaultdict[str, list[str]] = defaultdict(list)
        self.on_end: Callable[[world.Container, int | None, str], None] = lambda *ended: None

    def start(self, function: world.Function, revision: int) -> None:
        """Start a container for a function."""
        task_id = world.new_id("ta")
        container = world.Container(
            task_id=task_id,
            function_id=function.function_id,
            app_id=function.app_id,
            revision=revision,
            folder=str(self._holdings.folder("containers", task_id)),
        )
        self._holdings.containers[task_id] = container
        self._holdings.note("container", task_id=task_id, function_id=function.function_id)
        task = asyncio.ensure_future(self._launch(container))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def read(self, container: world.Container, *, all_: bool = False) -> None:
        """Take the lines that a container has written since, for the call that it works on.

        ``all_`` takes the line too that has not ended: nothing more of it comes.
        """
        call_id = ""
        if container.input_ids:
            call_id = self._holdings.inputs[container.input_ids[-1]].call_id
        if wire := self._wires.get(container.task_id):
            for fd, line in wire.written(all_=all_):
                self._logs.write(container, call_id, fd, line)

    def adopt(self) -> None:
        """Find, in a server that follows another, which of its containers still run."""
        for container in list(self._holdings.containers.values()):
            container.input_ids = [
                each.input_id
                for each in self._holdings.inputs.values()
                if each.task_id == container.task_id and each.status == "running"
            ]
            container.status = "busy" if container.input_ids else "idle"
            if container.pid and ending.born(container.pid) == container.born:
                self._tie(container)
            else:
                self._bury(container, _reaped(container.pid) if container.pid else None)

    def last_words(self, container: world.Container) -> str:
        """Return the last line that a container wrote."""
        return self._logs.last_words(container)

    def kill(self, container: world.Container, fate: str) -> None:
        """Kill a container and all that it has started."""
        container.fate = container.fate or fate
        if container.pid:
            ending.end(container.pid, container.task_id)

    def interrupt(self, container: world.Container, fate: str, grace: float) -> None:
        """Tell a container by SIGINT that it has ``grace`` seconds, then kill it."""
        container.fate = container.fate or fate
        if not container.pid:
            return
        self._logs.write(container, "", _SYSTEM, f"Container is {fate}; it has {grace:g} s.\n")
        try:
            os.kill(container.pid, signal.SIGINT)
        except ProcessLookupError:
            return
        self.kill_later(container, grace)

    def kill_later(self, container: world.Container, seconds: float) -> None:
        """Kill a container that still runs in ``seconds``."""
        asyncio.get_running_loop().call_later(seconds, self._kill_left, container)

    def cancel(self, container: world.Container, input_id: str, *, terminate: bool) -> None:
        """Tell a container to give up an input, or kill it."""
        if terminate:
            self.kill(container, "cancelled")
            return
        self.cancels[container.task_id].append(input_id)
        self._holdings.bells.ring(f"beat:{container.task_id}")
        loop = asyncio.get_running_loop()
        loop.call_later(_CANCEL_GRACE, self._kill_stubborn, container, input_id)

    def end(self) -> None:
        """Kill all containers, and wait for those that this process started."""
        for task in self._tasks:
            task.cancel()
        for container in self._holdings.containers.values():
            self.kill(container, "stopped")
            (self._holdings.folder("pids") / container.task_id).unlink(missing_ok=True)
        for process in self._processes.values():
            process.wait()
        for wire in self._wires.values():
            wire.cut()

    async def _launch(self, container: world.Container) -> None:
        try:
            await asyncio.to_thread(self._launcher.prepare, container)
        except Exception as error:  # the container's fault, as far as its function is concerned
            self._logs.write(container, "", _SYSTEM, f"The container cannot be made: {error!r}\n")
            self._bury(container, 1)
            raise
        if container.fate:
            self._bury(container, None)
            return
        self._processes[container.task_id] = self._launcher.start(container)
        self._holdings.keeper.save(container)
        self._tie(container)

    def _tie(self, container: world.Container) -> None:
        self._wires[container.task_id] = wires.Wire(container, self.read, self._ended)

    def _ended(self, container: world.Container) -> None:
        """Bury a container; nobody knows the code of one that another server has started."""
        process = self._processes.pop(container.task_id, None)
        self._bury(container, process.wait() if process else _reaped(container.pid))

    def _bury(self, container: world.Container, code: int | None) -> None:
        self.read(container, all_=True)
        if container.pid:
            ending.end(container.pid, container.task_id)
        if wire := self._wires.pop(container.task_id, None):
            wire.cut()
        was = container.status
        container.status = "gone"
        del self._holdings.containers[container.task_id]
        self._holdings.keeper.forget(container)
        (self._holdings.folder("pids") / container.task_id).unlink(missing_ok=True)
        self._holdings.note(
            "container_end", task_id=container.task_id, code=code, fate=container.fate, was=was
        )
        self.cancels.pop(container.task_id, None)
        self._holdings.bells.ring(f"beat:{container.task_id}")
        self.on_end(container, code, was)
        self._holdings.bells.ring(f"logs:{container.app_id}")
        shutil.rmtree(container.folder, ignore_errors=True)

    def _kill_left(self, container: world.Container) -> None:
        if container.task_id in self._holdings.containers:
            self.kill(container, "killed")

    def _kill_stubborn(self, container: world.Container, input_id: str) -> None:
        if input_id in container.input_ids:
            self.kill(container, "cancelled")


def _reaped(pid: int) -> int | None:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, os.WNOHANG)[1])
    except ChildProcessError:
        return None
