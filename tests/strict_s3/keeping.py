"""The objects and unfinished uploads of one bucket, and its conditions for taking more."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.strict_s3.refusing import Refused

_LEAST_PART = 5 << 20
_LONGEST_KEY = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One object; its ETag says nothing of its bytes, as where a server encrypts."""

    data: bytes
    metadata: dict[str, str]
    etag: str


@dataclass(slots=True, kw_only=True)
class Upload:
    """Parts on their way to one object."""

    key: str
    metadata: dict[str, str]
    began: str
    parts: dict[int, Kept] = field(default_factory=dict)


class Bucket:
    """Keeps objects by key; threads may share it.

    Of ``conflicts_every`` conditional writes one meets another, which is not there.
    """

    def __init__(self, *, conflicts_every: int, opaque: bool) -> None:
        """Keep nothing yet; ETags are ``opaque`` or MD5s."""
        self.objects: dict[str, Kept] = {}
        self.uploads: dict[str, Upload] = {}
        self._opaque = opaque
        self._conflicts_every = conflicts_every
        self._conditional = 0
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes, metadata: dict[str, str], headers: dict[str, str]) -> Kept:
        """Keep ``data`` under ``key``, where ``headers`` have no condition that fails."""
        if len(key.encode()) > _LONGEST_KEY:
            raise Refused(400, "KeyTooLongError")
        with self._lock:
            self._check(key, headers)
            self.objects[key] = self._keep(data, metadata)
            return self.objects[key]

    def get(self, key: str) -> Kept:
        """Return what is under ``key``."""
        if key not in self.objects:
            raise Refused(404, "NoSuchKey")
        return self.objects[key]

    def begin(self, key: str, metadata: dict[str, str]) -> str:
        """Begin an upload in parts; return its id."""
        number = secrets.token_urlsafe(12)
        began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.uploads[number] = Upload(key=key, metadata=metadata, began=began)
        return number

    def part(self, key: str, number: str, part: int, data: bytes) -> Kept:
        """Keep one part."""
        upload = self._upload(key, number)
        with self._lock:
            upload.parts[part] = self._keep(data, {})
            return upload.parts[part]

    def complete(
        self, key: str, number: str, parts: list[tuple[int, str]], headers: dict[str, str]
    ) -> Kept:
        """Make an object of the parts that are named with their ETags."""
        upload = self._upload(key, number)
        if [part for part, _ in parts] != sorted({part for part, _ in parts}):
            raise Refused(400, "InvalidPartOrder")
        for part, etag in parts:
            if part not in upload.parts or upload.parts[part].etag != etag:
                raise Refused(400, "InvalidPart")
        bodies = [upload.parts[part].data for part, _ in parts]
        if any(len(body) < _LEAST_PART for body in bodies[:-1]):
            raise Refused(400, "EntityTooSmall")
        with self._lock:
            self._check(key, headers)
            whole = self._keep(b"".join(bodies), upload.metadata)
            etag = f'{whole.etag[:-1]}-{len(parts)}"'
            self.objects[key] = Kept(data=whole.data, metadata=whole.metadata, etag=etag)
            del self.uploads[number]
            return self.objects[key]

    def abort(self, key: str, number: str) -> None:
        """Forget an upload with its parts."""
        self._upload(key, number)
        del self.uploads[number]

    def _upload(self, key: str, number: str) -> Upload:
        upload = self.uploads.get(number)
        if upload is None or upload.key != key:
            raise Refused(404, "NoSuchUpload")
        return upload

    def _check(self, key: str, headers: dict[str, str]) -> None:
        absent, match = headers.get("if-none-match"), headers.get("if-match")
        if absent is None and match is None:
            return
        if absent not in (None, "*") or (match or "").startswith('"'):
            raise Refused(501, "NotImplemented")
        self._conditional += 1
        if self._conditional % self._conflicts_every == 0:
            raise Refused(409, "ConditionalRequestConflict")
        there = self.objects.get(key)
        if absent and there is not None:
            raise Refused(412, "PreconditionFailed")
        if match and (there is None or there.etag.strip('"') != match):
            raise Refused(412, "PreconditionFailed")

    def _keep(self, data: bytes, metadata: dict[str, str]) -> Kept:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        etag = secrets.token_hex(16) if self._opaque else md5
        return Kept(data=data, metadata=metadata, etag=f'"{etag}"')
