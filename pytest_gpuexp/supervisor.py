"""Keeps a few children at work, each on one run, and sees to how each of them ends."""

from __future__ import annotations

import json
import os
import selectors
import signal
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pytest_gpuexp import processes
from pytest_gpuexp.offspring import Child, Death, Leases, Running, kind_of
from pytest_gpuexp.records import Status
from pytest_gpuexp.wire import Channel, Message

_POLL_SECONDS = 0.02  # where the kernel has no pidfd, or another session holds the GPUs
_LEAVING_SECONDS = 5.0  # between a child's report and its end

# What a child says before its outcome: what it had to import, that it was asked from outside to
# stop, what its session should know, and that only its record is left to write.
_ASIDES = (b'{"imported"', b'{"stopping"', b'{"told"', b'{"ended"')


class Supervisor:
    """The loop of a snapshot: tasks in, outcomes out, children in between.

    It ends when told to, or when the controller is gone and its last child has ended.
    """

    def __init__(
        self,
        control: Channel,
        *,
        launch: Callable[[], Child],
        settle: Callable[[Death], Mapping[str, Any]],
        leases: Leases,
        parallelism: int,
        grace_seconds: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        on_order: Callable[[Message], None],
        alarm: int | None = None,
    ) -> None:
        """Serve ``control``; ``launch`` makes a waiting child, ``settle`` speaks for a dead one.

        Whatever is written to the pipe ``alarm`` ends all runs, as their session's cancelling does.
        """
        self._alarm = alarm
        self._control = control
        self._launch = launch
        self._settle = settle
        self._leases = leases
        self._parallelism = parallelism
        self._grace = grace_seconds
        self._clock = clock
        self._wall_clock = wall_clock
        self._on_order = on_order
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, None)
        if alarm is not None:
            self._selector.register(alarm, selectors.EVENT_READ, None)
        self._waiting: deque[Message] = deque()
        self._spares: list[Child] = []
        self._running: dict[str, Running] = {}
        self._kinds: set[tuple[str, ...]] = set()
        self._leaving = False
        self._oom_kills = processes.oom_kills()

    def serve(self) -> None:
        """Work until told to close, or until the controller is gone and all runs have ended."""
        for message in self._control.pending():
            self._obey(message)
        while True:
            self._start_ready()
            if self._leaving and not self._running:
                break
            for key, _ in self._selector.select(self._patience()):
                self._attend(key.fileobj, key.data)
            if not hasattr(os, "pidfd_open"):
                for job in list(self._running):
                    self._reap(job)
            self._enforce(self._clock())
        self._drop_spares()

    def descriptors(self) -> list[int]:
        """Return what a forked child must close: held there, it would hide our end from others."""
        children = self._children()
        mine = [child.channel.fileno() for child in children]
        mine += [child.pidfd for child in children if child.pidfd is not None]
        if isinstance(self._selector, selectors.EpollSelector):
            mine.append(self._selector.fileno())
        return [self._control.fileno(), *(number for number in mine if number >= 0)]

    def _attend(self, source: Any, data: tuple[Literal["report", "end"], Child] | None) -> None:
        if data is not None:
            self._attend_child(*data)
        elif source == self._alarm:
            os.read(source, 1)
            self._cancel({*self._running, *(task["job"] for task in self._waiting)})
        else:
            for message in self._control.receive():
                self._obey(message)
            if self._control.closed and not self._leaving:
                self._leave()

    def _attend_child(self, kind: Literal["report", "end"], child: Child) -> None:
        job = next((key for key, run in self._running.items() if run.child is child), None)
        if job is None:
            if kind == "end":
                self._forget_spare(child)
        elif kind == "report":
            self._hear(job)
        else:
            self._reap(job)

    def _obey(self, message: Message) -> None:
        operation = message["op"]
        if operation == "run":
            if (kind := kind_of(message)) not in self._kinds:
                self._kinds.add(kind)
                self._drop_spares()  # they were forked before their kind of run was known
                self._on_order(message)
            self._waiting.append(message)
        elif operation == "cancel":
            self._cancel(set(message["jobs"]))
        elif operation == "close":
            self._leave()
        else:
            self._drop_spares()  # they were forked without what comes now
            self._on_order(message)

    def _leave(self) -> None:
        self._leaving = True
        self._waiting.clear()
        if not self._control.closed:
            return
        self._selector.unregister(self._control)

    def _start_ready(self) -> None:
        while self._waiting and self._busy() < self._parallelism:
            task = self._waiting[0]
            devices = self._leases.acquire(task["gpus"])
            if devices is None:
                return
            self._waiting.popleft()
            self._start(task, devices)
        # Ahead of need: a spare answers at once, while a fork would take its time then.
        want = min(len(self._waiting), self._parallelism) or (1 if self._running else 0)
        while not self._leaving and len(self._spares) < want:
            self._spares.append(self._new_child())

    def _busy(self) -> int:
        """Return how many handlers run; more results being written than may run count too."""
        at_work = sum(not (run.ended or run.reported) for run in self._running.values())
        writing = sum(run.ended and not run.reported for run in self._running.values())
        return at_work + max(0, writing - self._parallelism)

    def _start(self, task: Message, devices: tuple[str, ...]) -> None:
        child = self._spares.pop() if self._spares else self._new_child()
        now, timeout = self._clock(), task["attempt"]["spec"]["timeout_seconds"]
        self._running[task["job"]] = Running(
            child=child,
            task=task,
            devices=devices,
            started=self._wall_clock(),
            deadline=None if timeout is None else now + timeout,
        )
        child.channel.send({**task, "devices": devices})
        self._control.send({"started": task["job"], "devices": devices, "pid": child.pid})

    def _new_child(self) -> Child:
        child = self._launch()
        self._selector.register(child.channel, selectors.EVENT_READ, ("report", child))
        if hasattr(os, "pidfd_open"):
            child.pidfd = os.pidfd_open(child.pid)
            self._selector.register(child.pidfd, selectors.EVENT_READ, ("end", child))
        return child

    def _hear(self, job: str) -> None:
        run = self._running[job]
        for outcome in run.child.channel.receive_lines():
            self._done(job, run, outcome)
        if run.child.channel.closed:
            self._selector.unregister(run.child.channel)

    def _done(self, job: str, run: Running, outcome: bytes) -> None:
        if outcome.startswith(_ASIDES):
            self._listen(job, run, json.loads(outcome))
            return
        if run.reported:
            return
        run.reported = True
        run.deadline = None
        run.kill_at = run.kill_at or self._clock() + _LEAVING_SECONDS
        # As it came: to read it here would cost more than the run of many a handler.
        key = json.dumps(job).encode()
        self._control.send_line(b'{"done": %s, "outcome": %s}' % (key, outcome))

    def _listen(self, job: str, run: Running, aside: Message) -> None:
        if "imported" in aside:  # the next children should share it
            self._drop_spares()
            self._on_order({"op": "import", **aside})
        elif "ended" in aside:
            run.ended, run.deadline = True, None
        elif "stopping" in aside:
            self._grant(run, aside["stopping"])
        else:
            self._control.send({"told": aside["told"], "job": job})

    def _reap(self, job: str) -> None:
        run = self._running[job]
        pid = run.child.pid
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
        for outcome in run.child.channel.drain():
            self._done(job, run, outcome)
        processes.signal_group(pid, signal.SIGKILL)  # before its pid can be given to another
        _, waitstatus = os.waitpid(pid, 0)
        del self._running[job]
        processes.end_orphans({child.pid for child in self._children()})
        self._unregister(run.child)
        self._leases.release(run.devices)
        if not run.reported:
            death = Death(
                job=job,
                task=run.task,
                waitstatus=waitstatus,
                killed_for=run.killed_for,
                oom_kills=self._new_oom_kills(),
                started=run.started,
                devices=run.devices,
            )
            self._control.send({"done": job, "outcome": self._settle(death)})

    def _new_oom_kills(self) -> int:
        before, self._oom_kills = self._oom_kills, processes.oom_kills()
        return self._oom_kills - before

    def _children(self) -> list[Child]:
        return [*self._spares, *(run.child for run in self._running.values())]

    def _unregister(self, child: Child) -> None:
        if child.channel.fileno() in self._selector.get_map():
            self._selector.unregister(child.channel)
        child.channel.close()
        if child.pidfd is not None:
            self._selector.unregister(child.pidfd)
            os.close(child.pidfd)

    def _patience(self) -> float | None:
        """Return how long the loop may sleep, in seconds; None for as long as nothing happens."""
        if self._running and not hasattr(os, "pidfd_open"):
            return _POLL_SECONDS
        limits = [t for run in self._running.values() for t in (run.deadline, run.kill_at) if t]
        waits = [max(0.0, min(limits) - self._clock())] if limits else []
        if self._waiting and self._busy() < self._parallelism:
            waits.append(_POLL_SECONDS)
        return min(waits, default=None)

    def _enforce(self, now: float) -> None:
        for run in self._running.values():
            if run.kill_at is not None and now >= run.kill_at:
                processes.signal_group(run.child.pid, signal.SIGKILL)
                run.kill_at = now + _LEAVING_SECONDS
            elif run.deadline is not None and now >= run.deadline:
                self._end(run, "timeout")

    def _end(self, run: Running, reason: Status) -> None:
        self._grant(run, reason)
        if not run.ended:  # else it has its grace to bring its result to the disk
            run.child.channel.send({"stop": run.killed_for})
            processes.signal_group(run.child.pid, signal.SIGTERM)

    def _grant(self, run: Running, reason: Status) -> None:
        """Let a run have its grace, and no more, whoever asked it to stop."""
        run.killed_for = run.killed_for or reason
        run.deadline = None
        run.kill_at = run.kill_at or self._clock() + self._grace

    def _cancel(self, jobs: set[str]) -> None:
        for task in [task for task in self._waiting if task["job"] in jobs]:
            self._waiting.remove(task)
            self._control.send({"withdrawn": task["job"]})
        for job in jobs & set(self._running):
            self._end(self._running[job], "cancelled")

    def _drop_spares(self) -> None:
        for spare in self._spares:
            processes.signal_group(spare.pid, signal.SIGKILL)
            os.waitpid(spare.pid, 0)
            self._unregister(spare)
        self._spares.clear()

    def _forget_spare(self, child: Child) -> None:
        if child in self._spares:  # else dropped a moment ago, on an order of the same round
            os.waitpid(child.pid, os.WNOHANG)
            self._spares.remove(child)
            self._unregister(child)
