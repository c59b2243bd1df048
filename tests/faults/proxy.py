"""A proxy before an S3 server that fails as networks and servers do."""

from __future__ import annotations

import http.client
import http.server
import io
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.http_serving import serving

_DROPPED = {"transfer-encoding", "connection", "content-length", "date", "server"}


class Proxy:
    """Passes requests on; each takes the next of ``faults``, and none where they are used up.

    A fault is "" for none, "500" or "503", "reset" (before the request is passed on), "lost" (the
    request is carried out and its answer never comes), "half" (the answer breaks off in its body),
    "torn" (the server gets half of the body), or "hang" (no answer for ``hang_seconds``). While
    ``away`` every request is reset, and it is from the first one on for which ``leaves_at`` holds.
    Those for which ``hangs_at`` holds hang.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = ""
        self.away = False
        self.leaves_at: Callable[[str], bool] = lambda request: False
        self.hangs_at: Callable[[str], bool] = lambda request: False
        self.faults: list[str] = []
        self.hang_seconds = 3.0
        self.seen: list[str] = []
        self.target = endpoint.removeprefix("http://")
        self._lock = threading.Lock()

    def next_fault(self, request: str) -> str:
        with self._lock:
            self.seen.append(request)
            self.away = self.away or self.leaves_at(request)
            if self.away:
                return "reset"
            if self.hangs_at(request):
                return "hang"
            return self.faults.pop(0) if self.faults else ""


@contextmanager
def faulty(endpoint: str) -> Iterator[Proxy]:
    """Run a proxy before ``endpoint``."""
    proxy = Proxy(endpoint)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with serving(handler) as port:
        proxy.endpoint = f"http://127.0.0.1:{port}"
        yield proxy


class _Handler(http.server.BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.next_fault(f"{self.command} {self.path}")
        if fault in ("500", "503"):
            self._answer(int(fault), [], b"")
        elif fault == "reset":
            self._reset()
        elif fault == "hang":
            time.sleep(self.proxy.hang_seconds)
            self._reset()
        elif fault == "torn":
            self._tear(body)
        else:
            answer = http.client.HTTPConnection(self.proxy.target, timeout=30)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
            path = re.sub("^http://[^/]+", "", self.path)  # as a proxy of the environment
            answer.request(self.command, path, body=body, headers=headers)
            response = answer.getresponse()
            data = response.read()
            answer.close()
            if fault == "lost":
                self._reset()
                return
            length = response.getheader("Content-Length") or "0"
            self._answer(response.status, response.getheaders(), data, length, half=fault == "half")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass_on

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        data: bytes,
        length: str = "0",
        *,
        half: bool = False,
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        head = self.command == "HEAD"
        self.send_header("Content-Length", length if head else str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if half else data)
        if half:
            self._reset()

    def _tear(self, body: bytes) -> None:
        """Send the server a body that breaks off, and the client nothing."""
        host, _, port = self.proxy.target.partition(":")
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        request = f"{self.command} {self.path} HTTP/1.1\r\n{head}\r\n".encode()
        with socket.create_connection((host, int(port)), timeout=5) as server:
            server.sendall(request + body[: len(body) // 2])
        self._reset()

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()
        self.wfile = io.BytesIO()  # whatever is still written goes nowhere

    def log_message(self, *arguments: Any) -> None:
        pass
