"""The server itself: one bucket, by path or by host name."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.http_serving import serving
from tests.servers import ACCESS_KEY, BUCKET, SECRET_KEY, Server
from tests.strict_s3 import signatures
from tests.strict_s3.keeping import Bucket
from tests.strict_s3.listing import NAMESPACE, page, uploads_page
from tests.strict_s3.refusing import Refused, Request

REGION = "strict-1"
HOST = "strict.test"
"""The name of the server where the bucket is a part of it; nobody resolves it but the test."""
_META = "x-amz-meta-"


@dataclass(slots=True, kw_only=True)
class StrictServer:
    """What the server holds and what it was asked.

    ``clock_ahead`` is what its clock is before ours; ``names_region`` whether who has named another
    is told the right one, and ``heads_name_region`` whether also by a header. One request of
    ``busy_every`` is told to slow down, and ``pages`` hold few names.
    """

    virtual: bool
    bucket: Bucket
    busy_every: int
    pages: int
    port: int = 0
    clock_ahead: timedelta = timedelta(0)
    names_region: bool = True
    heads_name_region: bool = True
    refused: list[str] = field(default_factory=list)
    asked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://{HOST if self.virtual else '127.0.0.1'}:{self.port}"

    def environ(self, **changes: str) -> dict[str, str]:
        """Return what a storage must find in the environment."""
        addressing = "virtual" if self.virtual else "path"
        held = {"REGION": REGION, "ADDRESSING": addressing, **changes}
        return Server(endpoint=self.endpoint).environ(**held)


@contextmanager
def strict(
    *,
    virtual: bool = False,
    opaque: bool = True,
    busy_every: int = 97,
    conflicts_every: int = 5,
    pages: int = 31,
) -> Iterator[StrictServer]:
    """Run a server; where ``virtual`` its bucket is a part of the host's name, and no path."""
    bucket = Bucket(conflicts_every=conflicts_every, opaque=opaque)
    held = StrictServer(virtual=virtual, bucket=bucket, busy_every=busy_every, pages=pages)
    handler = type("Handler", (_Handler,), {"held": held})
    with serving(handler) as held.port:
        yield held


class _Handler(http.server.BaseHTTPRequestHandler):
    held: StrictServer
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        try:
            request = self._read()
            self._admit(request)
            self._carry_out(request)
        except Refused as refused:
            self.held.refused.append(refused.code)
            told = refused.about if self.held.names_region else {}
            about = "".join(f"<{k}>{escape(v)}</{k}>" for k, v in told.items())
            text = f"<Error><Code>{refused.code}</Code><Message>No.</Message>{about}</Error>"
            headers = {"Content-Type": "application/xml"}
            if "Region" in told and self.held.heads_name_region:
                headers["x-amz-bucket-region"] = told["Region"]
            self._answer(refused.status, text.encode(), headers)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve

    def _read(self) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = headers.get("content-length")
        if "transfer-encoding" in headers or (length is None and self.command in ("PUT", "POST")):
            self.close_connection = True
            raise Refused(411, "MissingContentLength")
        body = self.rfile.read(int(length or 0))
        parts = urlsplit(self.path)
        return Request(
            method=self.command, path=parts.path, query=parts.query, headers=headers, body=body
        )

    def _admit(self, request: Request) -> None:
        now = datetime.now(UTC) + self.held.clock_ahead
        signatures.check(request, keys={ACCESS_KEY: SECRET_KEY}, region=REGION, now=now)
        with self.held.lock:
            self.held.asked += 1
            asked, every = self.held.asked, self.held.busy_every
        if asked % every == 0:
            odd = asked // every % 2
            raise Refused(503, "SlowDown") if odd else Refused(429, "TooManyRequests")

    def _carry_out(self, request: Request) -> None:
        key, query = self._key(request), dict(signatures.pairs(request.query))
        if not key:
            self._list(query)
        elif "uploads" in query or "uploadId" in query:
            self._upload(request, key, query)
        elif request.method == "PUT":
            kept = self.held.bucket.put(key, request.body, _metadata(request), request.headers)
            self._answer(200, b"", {"ETag": kept.etag})
        elif request.method == "DELETE":
            self.held.bucket.objects.pop(key, None)
            self._answer(204, b"", {})
        else:
            kept = self.held.bucket.get(key)
            told = {f"{_META}{name}": text for name, text in kept.metadata.items()}
            self._give(kept.data, request.headers.get("range"), {"ETag": kept.etag, **told})

    def _give(self, data: bytes, wanted: str | None, headers: dict[str, str]) -> None:
        if wanted is None:
            self._answer(200, data, headers)
            return
        first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        part = data[first : last + 1]
        if not part:
            raise Refused(416, "InvalidRange")
        span = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        self._answer(206, part, {"Content-Range": span, **headers})

    def _key(self, request: Request) -> str:
        """Return the key that is asked for, "" for the bucket itself."""
        path = unquote(request.path)[1:]
        host = request.headers.get("host", "").rpartition(":")[0]
        if self.held.virtual:
            bucket, rest = host.removesuffix(f".{HOST}"), path
            if bucket == host:
                raise Refused(400, "InvalidRequest")  # by path
        else:
            bucket, _, rest = path.partition("/")
        if bucket != BUCKET:
            raise Refused(404, "NoSuchBucket")
        return rest

    def _list(self, query: dict[str, str]) -> None:
        if "uploads" in query:
            uploads = list(self.held.bucket.uploads.items())
            self._answer(200, uploads_page(uploads, query.get("prefix", "")), {})
        elif query.get("list-type") == "2":
            self._answer(200, page(self.held.bucket.objects, query, most=self.held.pages), {})
        else:
            raise Refused(501, "NotImplemented")

    def _upload(self, request: Request, key: str, query: dict[str, str]) -> None:
        bucket, number = self.held.bucket, query.get("uploadId", "")
        if request.method == "POST" and "uploads" in query:
            begun = f"<UploadId>{bucket.begin(key, _metadata(request))}</UploadId>"
            self._tell("InitiateMultipartUploadResult", begun)
        elif request.method == "PUT":
            kept = bucket.part(key, number, int(query["partNumber"]), request.body)
            self._answer(200, b"", {"ETag": kept.etag})
        elif request.method == "POST":
            kept = bucket.complete(key, number, _parts(request.body), request.headers)
            self._tell("CompleteMultipartUploadResult", f"<ETag>{escape(kept.etag)}</ETag>")
        elif request.method == "DELETE":
            bucket.abort(key, number)
            self._answer(204, b"", {})
        else:
            raise Refused(501, "NotImplemented")

    def _tell(self, name: str, inside: str) -> None:
        self._answer(200, f"<{name} {NAMESPACE}>{inside}</{name}>".encode(), {})

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass


def _metadata(request: Request) -> dict[str, str]:
    found = {n[len(_META) :]: v for n, v in request.headers.items() if n.startswith(_META)}
    if not all(re.fullmatch(r"[\x20-\x7e]*", value) for value in found.values()):
        raise Refused(400, "InvalidArgument")
    return found


def _parts(body: bytes) -> list[tuple[int, str]]:
    def text(part: ElementTree.Element, name: str) -> str:
        return next(one.text or "" for one in part if one.tag.rpartition("}")[2] == name)

    parts = ElementTree.fromstring(body)
    return [(int(text(part, "PartNumber")), text(part, "ETag")) for part in parts]
