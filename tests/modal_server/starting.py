"""Starts the server for a test, tells it what is to happen, and ends it with all its containers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import servers

_READY_SECONDS = 30.0
_REPOSITORY = Path(__file__).parents[2]


class ModalServer:
    """A server that runs, and its fault port."""

    def __init__(self, root: Path, options: list[str]) -> None:
        """Start a server on ``root``; ``options`` are the command line's."""
        self.root = root
        self._options = options
        self._port = self._control_port = 0
        self._process = self._start()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process of the server."""
        return self._process.pid

    @property
    def port(self) -> int:
        """The port of ``url``."""
        return self._port

    @property
    def environ(self) -> dict[str, str]:
        """What a client must find in its environment; no file of the user's is read."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": "ak-test",
            "MODAL_TOKEN_SECRET": "as-test",
            "MODAL_CONFIG_PATH": str(self.root / "no-modal.toml"),
        }

    def journal(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return what was asked for, oldest first; of one kind of event, or all."""
        entries: list[dict[str, Any]] = self._ask("journal")
        return [each for each in entries if event in (None, each["event"])]

    def containers(self) -> list[dict[str, Any]]:
        """Return the containers that run: ``task_id``, ``pid``, ``status``, ``call_ids``, ..."""
        found: list[dict[str, Any]] = self._ask("containers")
        return found

    def calls(self) -> list[dict[str, Any]]:
        """Return all calls with their inputs."""
        found: list[dict[str, Any]] = self._ask("calls")
        return found

    def wait_for_container(self, call_id: str, seconds: float = 20.0) -> dict[str, Any]:
        """Return the container that works on a call, as soon as one does."""
        deadline = time.monotonic() + seconds
        while True:
            for each in self.containers():
                if call_id in each["call_ids"]:
                    return each
            assert time.monotonic() < deadline, f"no container works on {call_id}"
            time.sleep(0.02)

    def kill(self, task_id: str) -> None:
        """Let a container be killed."""
        self._tell("kill", task_id=task_id)

    def preempt(self, task_id: str, *, grace: float | None = None) -> None:
        """Let a container be preempted: SIGINT, ``grace`` seconds, SIGKILL."""
        self._tell("preempt", task_id=task_id, **({} if grace is None else {"grace": grace}))

    def out_of_memory(self, task_id: str) -> None:
        """Let a container be killed for its memory."""
        self._tell("oom", task_id=task_id)

    def expire(self, call_id: str) -> None:
        """Let the output of a call be no longer kept."""
        self._tell("expire", call_id=call_id)

    def run_out(self, call_id: str) -> None:
        """Let the time limit of a call that runs have passed."""
        self._tell("run_out", call_id=call_id)

    def go_away(self, seconds: float) -> None:
        """Let nobody reach the server for some seconds; containers go on."""
        self._tell("away", seconds=seconds)

    def fault(
        self,
        rpc: str,
        *,
        count: int = 1,
        delay: float = 0.0,
        status: str = "",
        message: str = "",
        lost: bool = False,
    ) -> None:
        """Delay or fail the next ``count`` RPCs of a name; ``status`` is as ``UNAVAILABLE``.

        Where the answer is ``lost``, what was asked for is done all the same.
        """
        about = {"delay": delay, "status": status, "message": message, "lost": lost}
        self._tell("fault", rpc=rpc, count=count, **about)

    def scale(self, max_containers: int) -> None:
        """Let at most so many containers run from now on."""
        self._tell("scale", max_containers=max_containers)

    def restart(self) -> None:
        """Kill the server and start another on the same root; its containers go on."""
        self.crash()
        self._process = self._start()

    def begin_anew(self) -> None:
        """Let the server itself forget all but what is on disk; its containers go on."""
        number = self._about()["number"]
        self._tell("restart")
        deadline = time.monotonic() + _READY_SECONDS
        while self._about()["number"] == number:
            assert time.monotonic() < deadline, "the Modal server never began anew"
            time.sleep(0.02)

    def crash(self) -> None:
        """Kill the server, its containers left to the guard."""
        self._process.kill()
        self._process.wait()
        servers.RUNNING.discard(self._process.pid)

    def stop(self) -> None:
        """End the server; it ends its containers."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        servers.RUNNING.discard(self._process.pid)

    def _start(self) -> subprocess.Popen[bytes]:
        (self.root / "server.json").unlink(missing_ok=True)
        words = [
            *(sys.executable, "-m", "tests.modal_server", f"--root={self.root}"),
            *(f"--port={self._port}", f"--control-port={self._control_port}", *self._options),
        ]
        path = os.pathsep.join([str(_REPOSITORY), os.environ.get("PYTHONPATH", "")])
        with (self.root / "server.log").open("ab") as log:
            process = subprocess.Popen(
                words,
                cwd=_REPOSITORY,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        about = self._announced(process)
        self._port, self._control_port = int(about["port"]), int(about["control_port"])
        servers.RUNNING.add(process.pid)
        return process

    def _about(self) -> dict[str, str]:
        about: dict[str, str] = json.loads((self.root / "server.json").read_text())
        return about

    def _announced(self, process: subprocess.Popen[bytes]) -> dict[str, str]:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                return self._about()
            except FileNotFoundError:
                said = (self.root / "server.log").read_text()
                assert process.poll() is None, f"the Modal server ended: {said}"
                assert time.monotonic() < deadline, f"the Modal server never became ready: {said}"
                time.sleep(0.02)

    def _tell(self, what: str, **about: Any) -> None:
        self._ask(what, json.dumps(about).encode())

    def _ask(self, what: str, body: bytes | None = None) -> Any:
        url = f"http://127.0.0.1:{self._control_port}/{what}"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{what}: {error.code} {error.read().decode()}") from None


@contextmanager
def modal_server(
    *options: str, max_containers: int = 4, root: Path | None = None
) -> Iterator[ModalServer]:
    """Run a server on a free port; ``options`` are the command line's, as ``--grace=1``.

    Its folder is removed in the end, but for a ``root`` that was given.
    """
    folder = root or Path(tempfile.mkdtemp(prefix="modal-server-"))
    try:
        server = ModalServer(folder, [f"--max-containers={max_containers}", *options])
        try:
            yield server
        finally:
            server.stop()
    finally:
        if root is None:
            shutil.rmtree(folder, ignore_errors=True)
