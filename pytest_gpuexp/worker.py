"""The snapshot: a pytest that has collected the experiments once and forks a child a run."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pytest_gpuexp import binding, children, endings, processes, put_off, recording, transport
from pytest_gpuexp.collection import ExperimentModule, Kit
from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.execution import Execution
from pytest_gpuexp.leases import Leases
from pytest_gpuexp.offspring import Child, Death
from pytest_gpuexp.records import Attempt, ExperimentResult, Outcome
from pytest_gpuexp.settings import Settings
from pytest_gpuexp.storage.local import LocalStorage
from pytest_gpuexp.supervisor import Supervisor
from pytest_gpuexp.wire import Channel, Message


class Worker:
    """The plugin that turns a pytest session into a worker's: nothing is collected unasked."""

    def __init__(self, config: pytest.Config, control: Channel, greeting: Message) -> None:
        """Serve ``control`` as ``greeting`` says."""
        self._config = config
        self._control = control
        self._greeting = greeting
        self._storage = LocalStorage(Path(greeting["storage"]))
        self._provenance = greeting["provenance"].encode()
        self._kit = Kit(config, Settings(), None)
        self._execution = Execution(config, every_phase=greeting["every_phase"])
        self._session: pytest.Session | None = None
        self._fork: bool = greeting["isolation"] != "spawn"
        self._judged_safe = False
        self._supervisor: Supervisor | None = None
        config.pluginmanager.register(self._kit, "gpuexp-kit")
        config.pluginmanager.register(self._execution, "gpuexp-execution")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Collect nothing yet: the controller names the files."""
        self._session = session
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> Any:
        """Take experiment files for ourselves; pytest would make tests of them."""
        collectors = yield
        if not (self._kit.is_experiment(file_path) and parent.session.isinitpath(file_path)):
            return collectors  # a neighbour of the file that is asked for keeps its first module
        return self._kit.take(file_path, parent, collectors)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Serve instead of running tests, and leave without pytest's own end of a session."""
        if self._greeting["one_shot"]:
            children.serve_one(self._control, self._execute)
        else:
            # Once, before the first fork, or every child makes a base folder of its own.
            self._base_temporary()
            self._supervise()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _base_temporary(self) -> None:
        factory = getattr(self._config, "_tmp_path_factory", None)
        if factory is not None:
            factory.getbasetemp()

    def _supervise(self) -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        reader, writer = os.pipe()
        signal.signal(processes.END_RUNS, lambda *_: os.write(writer, b"x") and None)
        processes.adopt_orphans()  # what a run leaves behind comes to us, and is ended
        from_greeting = self._greeting
        self._supervisor = Supervisor(
            self._control,
            launch=self._launch,
            settle=self._settle,
            leases=Leases(from_greeting["gpus"]) if from_greeting["gpus"] else _NoLeases(),
            parallelism=from_greeting["parallelism"],
            grace_seconds=from_greeting["grace_seconds"],
            clock=time.monotonic,
            wall_clock=time.time,
            on_order=self._prepare,
            alarm=reader,
        )
        self._supervisor.serve()

    def _prepare(self, order: Message) -> None:
        """Import a module, or take what every record ends with.

        An error of import is left to the runs, which report it with its traceback.
        """
        if order["op"] == "provenance":
            self._provenance = order["text"].encode()
            self._greeting["provenance"] = order["text"]
        elif order["op"] == "import":
            self._import(order["imported"])
        elif order["op"] == "run":
            self._warm(transport.attempt_from_plain(order["attempt"]), Path(order["folder"]))
        elif self._fork:
            assert self._session is not None  # pytest collects before it runs
            self._kit.named.add(Path(order["path"]))
            self._session.perform_collect([order["path"]])
            self._judged_safe = False

    def _import(self, names: Sequence[str]) -> None:
        """Import what a child had to import, so that the next ones are forked with it."""
        for name in names:
            if self._fork and name not in sys.modules:
                with contextlib.suppress(Exception):  # the runs meet it too, and report it
                    importlib.import_module(name)
                self._judged_safe = False

    def _warm(self, attempt: Attempt, folder: Path) -> None:
        """Do once, before a fork, what all runs of a handler would do; an error is left to them."""
        if self._fork:
            with contextlib.suppress(Exception):
                module = self._module(attempt.spec.path)
                binding.warm(module, attempt.spec)
                if not attempt.stub:
                    self._import(put_off.foreseen(module.path.read_text("utf-8"), sys.modules))
                recording.rehearse(attempt, folder)
            children.settle_memory()

    def _launch(self) -> Child:
        if self._fork and not self._judged_safe:
            self._judge_fork()
        if self._fork:
            assert self._supervisor is not None  # children are launched by it
            return children.fork_child(self._execute, self._supervisor.descriptors)
        words = [sys.executable, "-m", "pytest_gpuexp.worker"]
        return children.exec_child(words, {**self._greeting, "one_shot": True})

    def _judge_fork(self) -> None:
        self._judged_safe = True
        reason = children.fork_hazard()
        if reason is not None:
            self._fork = self._greeting["isolation"] == "fork"
            self._control.send({"hazard": reason, "isolation": "fork" if self._fork else "spawn"})
        if self._fork:
            children.settle_memory()

    def _module(self, path: str) -> ExperimentModule:
        absolute = Path(os.path.normpath(self._config.rootpath / path))
        if absolute not in self._kit.modules:
            assert self._session is not None  # pytest collects before it runs
            self._kit.named.add(absolute)
            self._session.perform_collect([str(absolute)])
        return self._kit.modules[absolute]

    def _execute(self, task: Message, channel: Channel) -> Mapping[str, Any]:
        """Be the child: execute the task's attempt, commit its record, return its outcome.

        What the supervisor should know meanwhile goes by ``channel``.
        """
        attempt = transport.attempt_from_plain(task["attempt"])
        folder, log = Path(task["folder"]), Path(task["log"])
        started, me = time.time(), os.getpid()
        try:
            module = self._module(attempt.spec.path)
            outcome = self._execution.run(
                module,
                attempt,
                folder=folder,
                devices=task["devices"],
                stopping=children.stopping(channel),
                tell=lambda told: channel.send({"told": told}),
                ended=lambda: os.getpid() == me and children.say_ended(channel),
            )
        # What pytest itself lets through: an error of import, of collection, or pytest.exit.
        except BaseException as error:  # noqa: BLE001
            result = recording.result_without_worker(
                attempt,
                folder=folder,
                status=_status_of(error),
                error_type=type(error).__name__,
                error_message=endings.message_of(error),
                started=started,
                devices=task["devices"],
            )
            outcome = Outcome(result=result)
        if os.getpid() != me:
            os._exit(0)  # the handler forked, and its child came back here: it speaks for no run
        return self._commit(outcome.result, outcome.reports, log)

    def _settle(self, death: Death) -> Mapping[str, Any]:
        """Speak for a child that died: commit a record of how it ended."""
        attempt = transport.attempt_from_plain(death.task["attempt"])
        log = Path(death.task["log"])
        status, error_type, message = endings.status_of_exit(
            death.waitstatus,
            killed_for=death.killed_for,
            timeout_seconds=attempt.spec.timeout_seconds,
            oom_kills=death.oom_kills,
            tail=children.tail_of(log),
        )
        result = recording.result_without_worker(
            attempt,
            folder=Path(death.task["folder"]),
            status=status,
            error_type=error_type,
            error_message=message,
            started=death.started,
            devices=death.devices,
        )
        return self._commit(result, (), log)

    def _commit(self, result: ExperimentResult, reports: Any, log: Path) -> Mapping[str, Any]:
        """Write the record, unless its session does, whose disk is another; return the outcome."""
        standing = result
        try:
            if self._greeting["commits"]:
                standing = recording.commit(self._storage, result, self._provenance)
        except GpuexpError as error:
            # The session still learns of the result, and that no record speaks for it.
            told = f"{result.error_message or ''} [no record: {error}]".strip()
            standing = dataclasses.replace(result, published=False, error_message=told)
        quiet = standing.status == "completed" and standing.verdict != "fail"
        tail = "" if quiet else children.tail_of(log)
        if quiet and log.exists() and not log.stat().st_size:
            log.unlink()  # ten thousand empty files help nobody
        return transport.outcome_to_plain(Outcome(result=standing, reports=reports, log_tail=tail))


class _NoLeases:
    """There is no GPU to lease; runs that want some use what the machine has."""

    def acquire(self, count: int) -> tuple[str, ...]:
        return ()

    def release(self, tokens: object) -> None:
        pass


def _status_of(error: BaseException) -> Any:
    if isinstance(error, KeyboardInterrupt):
        return "cancelled"
    return endings.status_of_exception(error)


def main() -> NoReturn:
    """Be a worker: ``python -m pytest_gpuexp.worker FD``, greeted over that socket."""
    children.put_off_collections()
    control = Channel(socket.socket(fileno=int(sys.argv[1])))
    os.set_inheritable(control.fileno(), False)
    greeting = control.wait()
    if greeting is None:
        sys.exit("pytest-gpuexp: the session that started this worker is gone.")
    sys.path[:] = greeting["sys_path"]
    os.chdir(greeting["folder"])
    options = greeting["options"]
    if greeting["one_shot"] and options["basetemp"]:
        options["basetemp"] += f"/{os.getpid()}"  # or each would empty that of all others
    config = pytest.Config.fromdictargs(options, greeting["arguments"])
    config.pluginmanager.register(Worker(config, control, greeting), "gpuexp-worker")
    config.hook.pytest_cmdline_main(config=config)
    # Only reached where pytest refused before its loop began, as for a bad conftest.
    sys.exit("pytest-gpuexp: the worker's pytest ended before it could serve.")


if __name__ == "__main__":
    main()
