"""A session of pytest in a process of its own, which carries out an order."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_gpuexp import orders, processes, schema
from pytest_gpuexp.errors import StorageError, WorkerMayNotDispatch
from pytest_gpuexp.forerunner import MARK
from pytest_gpuexp.orders import Order
from pytest_gpuexp.records import ExperimentResult

_LOOK_SECONDS = 0.02
_END_SECONDS = 20.0
_USAGE_ERROR = 4  # pytest's exit code


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a session is to run: what its command line would say."""

    backend: str = "local"
    storage: str = "results"
    parallelism: int | None = None
    resume: bool = False
    stub: bool = False
    isolation: str | None = None
    options: Sequence[str] = ()  # further words for pytest

    def words(self) -> list[str]:
        """Return the options of the session."""
        given = {
            "backend": self.backend,
            "storage": self.storage,
            "parallelism": self.parallelism,
            "isolation": self.isolation,
        }
        words = [f"--gpuexp-{key}={value}" for key, value in given.items() if value is not None]
        words += ["--gpuexp-resume"] if self.resume else []
        words += ["--gpuexp-stub-mode"] if self.stub else []
        return [*words, *self.options]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidings:
    """What is known of an errand.

    ``results`` are by run id, and ``planned`` are the run ids by file and name; ``troubles`` are by
    file. ``output`` is what pytest printed, once it has ended.
    """

    results: Mapping[str, ExperimentResult]
    planned: Mapping[tuple[str, str], str]
    troubles: Mapping[str, str]
    ended: bool
    refused: bool = False  # with pytest's exit code for wrong usage
    output: str = ""


class Errand:
    """An order on its way; its folder lets another process find it again."""

    def __init__(self, folder: Path) -> None:
        """Find the errand whose files lie in ``folder``.

        Raises:
            StorageError: there is none.
        """
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._pid, self._began = json.loads((folder / "process.json").read_text())
        except OSError as error:
            raise StorageError(
                f"{folder} holds no sweep: {error.strerror}. Give the handle that spawn_ gave."
            ) from None

    @classmethod
    def start(cls, order: Order, terms: Terms, *, root: Path, detached: bool) -> Errand:
        """Start a session in ``root``; one that is not ``detached`` ends with this process.

        Raises:
            WorkerMayNotDispatch: this process is a worker of another session.
        """
        if MARK in os.environ:
            raise WorkerMayNotDispatch(
                "a handler was about to run a sweep of its own, in a worker of pytest-gpuexp. Run "
                "sweeps outside of handlers."
            )
        folder = _new_folder(root)
        orders.write_order(folder / "order.json", order)
        replies = folder / "replies.jsonl"
        replies.touch()
        with (folder / "output.txt").open("wb") as output:
            process = subprocess.Popen(
                _words(folder / "order.json", terms),
                cwd=root,
                env=environment() | _replying(replies, None if detached else os.getpid()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        identity = [process.pid, processes.start_time(process.pid)]
        (folder / "process.json").write_text(json.dumps(identity))
        errand = cls(folder)
        errand._process = process
        return errand

    def tidings(self) -> Tidings:
        """Return what is known by now."""
        ended = not self._alive()  # before the replies are read: they are whole then
        results: dict[str, ExperimentResult] = {}
        planned: dict[tuple[str, str], str] = {}
        troubles: dict[str, str] = {}
        refused = False
        for line in (self.folder / "replies.jsonl").read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                break  # it is being written
            reply = json.loads(line)
            if "result" in reply:
                result = schema.record_from_plain(reply["result"], place="reply of a session")
                results[result.run_id] = result
            elif "planned" in reply:
                planned.update({(path, name): run_id for path, name, run_id in reply["planned"]})
            elif "trouble" in reply:
                troubles[reply["path"]] = reply["trouble"]
            else:
                refused = reply["exit"] == _USAGE_ERROR
        return Tidings(
            results=results,
            planned=planned,
            troubles=troubles,
            ended=ended,
            refused=refused,
            output=self.output() if ended else "",
        )

    def output(self) -> str:
        """Return what pytest has printed."""
        return (self.folder / "output.txt").read_text(errors="replace")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, for ``timeout`` seconds at most; return whether it has come."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._alive():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def cancel(self) -> None:
        """End the runs in flight, and wait until the session has written how."""
        if self._alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGINT)
        if not self.wait(_END_SECONDS):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self.wait(_END_SECONDS)

    def forget(self) -> None:
        """Remove the errand's own files; records and artifacts stay."""
        clear(self.folder)

    def order(self) -> Order:
        """Return the order that is carried out."""
        place = self.folder / "order.json"
        return orders.order_from_plain(json.loads(place.read_text()), place=str(place))

    def _alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return self._began is not None and processes.lives(self._pid, self._began)


def foreground(order: Order, terms: Terms, *, root: Path) -> tuple[list[str], Path]:
    """Return the command of a session that shows people how it carries out ``order``.

    Beside it is the folder in which the order lies, to be cleared once it has ended.
    """
    folder = _new_folder(root)
    orders.write_order(folder / "order.json", order)
    stage = f"--gpuexp-stage={folder / 'order.json'}"
    return [sys.executable, "-m", "pytest", stage, *terms.words()], folder


def environment() -> dict[str, str]:
    """Return this process's environment, so that a pytest of its own imports what we do."""
    ours = [os.path.abspath(one) for one in sys.path if one and os.path.isdir(one)]
    around = {
        key: text
        for key, text in os.environ.items()
        if not key.startswith(("PYTEST_XDIST", "PYTEST_CURRENT_TEST"))
    }
    inherited = around.get("PYTHONPATH", "").split(os.pathsep)
    paths = [*inherited, *(one for one in ours if not _is_installed(one))]
    return {**around, "PYTHONPATH": os.pathsep.join(filter(None, dict.fromkeys(paths)))}


def clear(folder: Path) -> None:
    """Remove the files of an errand."""
    for name in ("order.json", "replies.jsonl", "output.txt", "process.json"):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _words(order: Path, terms: Terms) -> list[str]:
    alone = ["-p", "no:cacheprovider", "-p", "pytest_gpuexp.replies", "-q", "-rN", "--no-header"]
    if importlib.util.find_spec("xdist") and "PYTEST_DISABLE_PLUGIN_AUTOLOAD" not in os.environ:
        alone.append("-n0")  # whatever the project's ini says: the session dispatches itself
    # A file that cannot be imported must not keep the others from running.
    alone += ["--continue-on-collection-errors", "--maxfail=0"]
    given = [f"--gpuexp-stage={order}", *terms.words()]
    return [sys.executable, "-m", "pytest", *alone, *given]


def _replying(replies: Path, parent: int | None) -> dict[str, str]:
    named = {"PYTEST_GPUEXP_REPLIES": str(replies)}
    return named if parent is None else {**named, "PYTEST_GPUEXP_PARENT": str(parent)}


def _is_installed(path: str) -> bool:
    return path.startswith((sys.prefix, sys.base_prefix, sys.exec_prefix))


def _new_folder(root: Path) -> Path:
    home = root / ".gpuexp"
    home.mkdir(parents=True, exist_ok=True)
    ignore = home / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    folder = home / "sweeps" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{time.time_ns()}"
    folder.mkdir(parents=True)
    return folder
