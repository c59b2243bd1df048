"""Just enough of an S3 server to hold ten thousand objects, and to count what it is asked."""

from __future__ import annotations

import hashlib
import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.http_serving import serving

_PAGE = 1000


class Pretended:
    """The objects by key, and the requests so far as ``GET list``, ``GET``, ``PUT``, ``HEAD``."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.requests: list[str] = []
        self.endpoint = ""


@contextmanager
def pretended() -> Iterator[Pretended]:
    """Run a server of one bucket, which is addressed by path."""
    held = Pretended()
    handler = type("Handler", (_Handler,), {"held": held})
    with serving(handler) as port:
        held.endpoint = f"http://127.0.0.1:{port}"
        yield held


class _Handler(http.server.BaseHTTPRequestHandler):
    held: Pretended
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if "list-type" in query:
            self.held.requests.append("GET list")
            self._answer(200, self._page(query))
        elif "uploads" in parts.query:
            self.held.requests.append("GET uploads")
            self._answer(200, b"<ListMultipartUploadsResult></ListMultipartUploadsResult>")
        else:
            self._object("GET")

    def do_HEAD(self) -> None:
        self._object("HEAD")

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.held.requests.append("PUT")
        key = self._key()
        if self.headers.get("If-None-Match") and key in self.held.objects:
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        stem = "x-amz-meta-"
        told = {k: v for k, v in self.headers.items() if k.lower().startswith(stem)}
        self.held.objects[key], self.held.metadata[key] = data, told
        self._answer(200, b"", ETag=f'"{hashlib.md5(data).hexdigest()}"')

    def do_DELETE(self) -> None:
        self.held.requests.append("DELETE")
        self.held.objects.pop(self._key(), None)
        self._answer(204, b"")

    def _object(self, word: str) -> None:
        self.held.requests.append(word)
        data = self.held.objects.get(self._key())
        if data is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._answer(200, data, **self.held.metadata.get(self._key(), {}))

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).split("/", 2)[2]

    def _page(self, query: dict[str, str]) -> bytes:
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        found = [key for key in self.held.objects if key.startswith(prefix) and key > after]
        keys = sorted(found)
        page, more = keys[:_PAGE], len(keys) > _PAGE
        entries = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{entries}{token}</ListBucketResult>"
        ).encode()

    def _answer(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass
