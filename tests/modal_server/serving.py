"""One server, from its start to its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
import weakref

from aiohttp import web
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from tests.modal_server import (
    answering,
    apps,
    blobs,
    calls,
    containers,
    control,
    dicts,
    environments,
    fleet,
    functions,
    images,
    inputs,
    launching,
    logs,
    mounts,
    queues,
    scheduling,
    secret_groups,
    volume_files,
    volumes,
)
from tests.modal_server import holdings as holding

_HOST = "127.0.0.1"
_ABANDONED_SECONDS = 5.0


class _Switchboard(Server):
    """A server whose connections can be cut."""

    def __init__(self, service: answering.Service) -> None:
        """Answer with ``service``."""
        super().__init__([service])
        self._lines: weakref.WeakSet[H2Protocol] = weakref.WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        line = super()._protocol_factory()
        self._lines.add(line)
        return line

    async def open(self, port: int) -> int:
        """Listen; return the port, which is a free one where ``port`` is 0."""
        # With its protocol named, grpclib sets TCP_NODELAY; without, each answer is 40 ms late.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((_HOST, port))
        await self.start(sock=listening)
        return int(listening.getsockname()[1])

    def hang_up(self) -> None:
        """Listen no more, and cut all connections."""
        self.close()
        for line in list(self._lines):
            if hasattr(line, "connection"):
                line.connection._transport.abort()


class House:
    """Everything that one server is made of."""

    def __init__(self, settings: holding.Settings) -> None:
        """Build a server on what lies in the root of ``settings``."""
        self._settings = settings
        self._holdings = kept = holding.opened(settings)
        known_volumes, known_logs = volumes.Volumes(kept), logs.Logs(kept)
        self._inputs = inputs.Inputs(kept)
        self._fleet = fleet.Fleet(kept, launching.Launcher(kept, known_volumes), known_logs)
        scheduler = scheduling.Scheduler(kept, self._inputs, self._fleet)
        self._scheduler = scheduler
        self._apps = apps.Apps(kept, scheduler)
        self._blobs = blobs.Blobs(kept)
        families = [
            self._apps,
            self._blobs,
            calls.Calls(kept, self._inputs, scheduler),
            containers.Containers(kept, scheduler, self._fleet),
            dicts.Dicts(kept),
            environments.Environments(kept),
            functions.Functions(kept, self._apps, scheduler),
            images.Images(kept),
            known_logs,
            mounts.Mounts(kept),
            queues.Queues(kept),
            secret_groups.Secrets(kept),
            volume_files.VolumeFiles(kept, known_volumes),
            known_volumes,
        ]
        self._service = answering.Service(kept, families)
        self._server = _Switchboard(self._service)
        self._stopping = asyncio.Event()
        self._again = False

    async def run(self) -> bool:
        """Serve until told to end; return whether to begin anew, the containers left running."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        runner = await self._start_http()
        self._settings.port = await self._server.open(self._settings.port)
        guard = self._announce()
        self._inputs.resume()
        self._fleet.adopt()
        self._scheduler.pump()
        minding = asyncio.ensure_future(self._mind())
        await self._stopping.wait()
        minding.cancel()
        self._server.hang_up()
        if not self._again:
            self._fleet.end()
        await runner.cleanup()
        self._holdings.keeper.close()
        if guard.stdin:
            guard.stdin.close()
        if not self._again:
            guard.wait()
        return self._again

    async def _start_http(self) -> web.AppRunner:
        application = web.Application(client_max_size=1 << 32)
        application.add_routes(self._blobs.routes())
        control_ = control.Control(
            self._holdings,
            self._inputs,
            self._scheduler,
            self._fleet,
            self._go_away,
            self._begin_anew,
        )
        application.add_routes(control_.routes())
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, _HOST, self._settings.control_port)
        await site.start()
        if not self._settings.control_port:
            self._settings.control_port = int(runner.addresses[0][1])
        return runner

    def _announce(self) -> subprocess.Popen[bytes]:
        """Write where the server is; start the guard that ends containers should it be killed."""
        number = uuid.uuid4().hex
        about = {
            "number": number,
            "pid": os.getpid(),
            "port": self._settings.port,
            "control_port": self._settings.control_port,
        }
        root = self._holdings.folder()
        partial = root / "server.json.partial"
        partial.write_text(json.dumps(about))
        partial.replace(root / "server.json")
        words = ["-m", "tests.modal_server.guarding", str(root), number, str(self._settings.grace)]
        return subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.PIPE, start_new_session=True
        )

    async def _go_away(self, seconds: float) -> None:
        self._server.hang_up()
        await asyncio.sleep(seconds)
        self._server = _Switchboard(self._service)
        await self._server.open(self._settings.port)

    def _begin_anew(self) -> None:
        self._again = True
        self._stopping.set()

    async def _mind(self) -> None:
        while True:
            await asyncio.sleep(_ABANDONED_SECONDS)
            self._apps.stop_abandoned()
