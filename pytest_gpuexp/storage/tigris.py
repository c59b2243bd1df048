"""A storage that is a bucket of Tigris, or of any server that speaks S3."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.storage.access import SCHEME, read_access
from pytest_gpuexp.storage.clients import Connections, connections_of, send_in_parts
from pytest_gpuexp.storage.downloads import fetch
from pytest_gpuexp.storage.patience import Patience
from pytest_gpuexp.storage.refusals import (
    BrokenOff,
    Damaged,
    damage,
    explain,
    is_passing,
    read_refusal,
    waiting,
)
from pytest_gpuexp.storage.signed_requests import META, Answer

T = TypeVar("T")

_SHA, _WRITER = "gpuexp-sha256", "gpuexp-writer"  # metadata of every object
_LARGE = 8 << 20
_STALE = timedelta(days=1)
_CHECK_SECONDS = 3.0
_READS = 3


class TigrisStorage:
    """Files in one bucket, below a prefix; what is sent is verified, and so is what comes.

    Threads may share it, and so may a forked child: each process has a client of its own. ``tell``
    gets what the user should know while a call waits for the server.
    """

    def __init__(
        self,
        bucket: str | None = None,
        *,
        prefix: str = "",
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Keep files below ``prefix``; nothing is connected yet.

        ``environ`` names the server and the keys, and the bucket where it is None.

        Raises:
            StorageError: ``environ`` lacks something.
        """
        self.access = read_access(environ, bucket=bucket)
        self.url = f"{SCHEME}{self.access.bucket}/{prefix}".rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._manners: dict[str, Any] = {"clock": clock, "sleep": sleep, "jitter": jitter}
        self.tell: Callable[[str], object] = lambda text: None
        self._patience = Patience(self.access.patience, on_wait=self._on_wait, **self._manners)

    def check(self) -> None:
        """Ask the server, with little patience, whether this bucket can be used.

        Raises:
            StorageError: no server, no bucket, or not with these keys.
        """
        requests = connections_of(self.access).impatient(self.access, connect=3, read=10)
        question = {"list-type": "2", "max-keys": "1", "prefix": self._prefix}
        patience = Patience(_CHECK_SECONDS, **self._manners)
        try:
            patience.call(lambda: requests.ask("GET", "", query=question), passing=is_passing)
        except Exception as error:  # noqa: BLE001 -- botocore's, which are imported late
            raise explain(error, self.access) from None
        finally:
            requests.close()

    def lose(self) -> None:
        """Let no call wait for a server that fails, until one succeeds."""
        self._patience.lose()

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Put ``data`` under ``name`` whole, replacing what was there; always durable."""
        self._call(lambda: self._put(name, data, {}))

    def write_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        """Put ``data`` under ``name`` unless it is taken; return whether this call wrote it."""
        writer = uuid.uuid4().hex

        def put() -> bool:
            try:
                self._put(name, data, {"If-None-Match": "*", f"{META}{_WRITER}": writer})
            except Exception as error:
                refusal = read_refusal(error)
                if refusal is None or not refusal.taken:
                    raise
                # An answer that was lost is asked for again, and finds the name taken by us.
                return self._was_written_by(writer, name)
            return True

        return self._call(put)

    def read(self, name: str) -> bytes:
        """Return what is under ``name``."""
        return self._call(lambda: self._again(lambda: self._get(name)), name)

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names directly below the folder ``prefix``, folders too."""
        folder = f"{self._key(prefix)}/" if prefix else self._prefix
        stem = f"{prefix.rstrip('/')}/" if prefix else ""
        for name in self._call(lambda: self._names_below(folder)):
            yield f"{stem}{name.removeprefix(folder).rstrip('/')}"

    def link(self, name: str, *, seconds: int) -> str:
        """Return a link by which anybody can read ``name`` for ``seconds``; no request is made."""
        arguments = {"Bucket": self.access.bucket, "Key": self._key(name)}
        link: str = self._connections().client.generate_presigned_url(
            "get_object", Params=arguments, ExpiresIn=seconds
        )
        return link

    def exists(self, name: str) -> bool:
        """Return whether there is something under ``name``."""
        return self._call(lambda: self._head(name)) is not None

    def delete(self, name: str) -> None:
        """Remove what is under ``name``, if anything."""
        self._call(lambda: self._ask("DELETE", name))

    def upload_file(self, path: Path, name: str) -> None:
        """Put the bytes of ``path`` under ``name``, in parts where it is large."""
        self._call(lambda: self._send(path, name))

    def download_file(self, name: str, path: Path) -> None:
        """Put what is under ``name`` into ``path``, whole."""
        temporary = path.with_name(f".writing-{os.getpid()}-{threading.get_ident()}-{path.name}")
        try:
            self._call(lambda: self._again(lambda: self._fetch(name, temporary)), name)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def sweep(self, *, now: datetime | None = None) -> int:
        """End uploads below the prefix that were begun a day ago; return how many.

        A kill leaves them behind, unseen, and they are paid for.
        """
        oldest = (now or datetime.now(UTC)) - _STALE

        def abort() -> int:
            client = self._connections().client
            pages = client.get_paginator("list_multipart_uploads")
            found = [
                upload
                for page in pages.paginate(Bucket=self.access.bucket, Prefix=self._prefix)
                for upload in page.get("Uploads", ())
                if upload["Initiated"] < oldest
            ]
            for upload in found:
                client.abort_multipart_upload(
                    Bucket=self.access.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
            return len(found)

        return self._call(abort)

    def _on_wait(self, error: Exception) -> None:
        self.tell(waiting(error, self.access))

    def _call(self, action: Callable[[], T], name: str = "") -> T:
        self._connections()  # what is wrong with it is no failure of the server's
        try:
            return self._patience.call(action, passing=is_passing)
        except StorageError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and not is_passing(error):
                raise  # of this machine: its disk, its files
            refusal = read_refusal(error)
            if name and refusal is not None and refusal.code == "NoSuchKey":
                raise FileNotFoundError(f"there is no {name!r} in {self.url}") from None
            raise explain(error, self.access) from None

    def _again(self, action: Callable[[], T]) -> T:
        """Read; bytes that are others each time are not waited for as a failing server is."""
        for _ in range(_READS):
            try:
                return action()
            except BrokenOff:
                raise
            except Damaged as error:
                told = damage(error, self.access)
        raise told

    def _put(self, name: str, data: bytes, headers: Mapping[str, str]) -> None:
        sha = hashlib.sha256(data).hexdigest()
        answer = self._ask("PUT", name, data=data, headers={f"{META}{_SHA}": sha, **headers})
        # A plain ETag is the MD5 of what the server has; an encrypting one says something else.
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if answer.headers.get("ETag", "").strip('"') != md5 and self._get(name) != data:
            raise Damaged(f"{name!r} came back with other bytes")

    def _was_written_by(self, writer: str, name: str) -> bool:
        head = self._head(name)
        ours = head is not None and head.headers.get(f"{META}{_WRITER}") == writer
        if ours:
            self._get(name)  # its answer was lost, so nothing of it is verified yet
        return ours

    def _send(self, path: Path, name: str) -> None:
        if path.stat().st_size < _LARGE:  # s3transfer would start a dozen threads for it
            self._put(name, path.read_bytes(), {})
            return
        with path.open("rb") as file:
            sha = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
        client = self._connections().client
        send_in_parts(client, path, self.access.bucket, self._key(name), metadata={_SHA: sha})
        self._verify(name, size, sha)

    def _verify(self, name: str, size: int, sha: str) -> None:
        head = self._head(name)
        if head is None or head.length != size or head.headers.get(f"{META}{_SHA}") != sha:
            raise Damaged(f"{name!r} is not there with its {size} bytes and their sha256")

    def _get(self, name: str) -> bytes:
        answer = self._ask("GET", name)
        sha = hashlib.sha256(answer.data).hexdigest()
        _compare(name, answer, len(answer.data), sha, length=answer.length)
        return answer.data

    def _fetch(self, name: str, path: Path) -> None:
        came = fetch(lambda headers: self._ask("GET", name, headers=headers, streamed=True), path)
        _compare(name, came.answer, came.size, came.sha256, length=came.length)

    def _head(self, name: str) -> Answer | None:
        try:
            return self._ask("HEAD", name)
        except Exception as error:
            refusal = read_refusal(error)
            if refusal is not None and refusal.absent:
                return None
            raise

    def _names_below(self, folder: str) -> Sequence[str]:
        pages = self._connections().client.get_paginator("list_objects_v2")
        names: list[str] = []
        for page in pages.paginate(Bucket=self.access.bucket, Prefix=folder, Delimiter="/"):
            names += [entry["Key"] for entry in page.get("Contents", ()) if entry["Key"] != folder]
            names += [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
        return names

    def _key(self, name: str) -> str:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in name:
            raise StorageError(
                f"{name!r} is not a name below {self.url}. Use a relative name without '..'."
            )
        return f"{self._prefix}{pure}"

    def _ask(self, method: str, name: str, **more: Any) -> Answer:
        return self._connections().requests.ask(method, self._key(name), **more)

    def _connections(self) -> Connections:
        return connections_of(self.access)


def _compare(name: str, answer: Answer, size: int, sha: str, *, length: int) -> None:
    """Raise ``Damaged`` where other bytes came than were sent, or fewer than ``length``."""
    if size != length:
        raise BrokenOff(f"{name!r} broke off after {size} bytes")
    if answer.headers.get(f"{META}{_SHA}", sha) != sha:
        raise Damaged(f"{name!r} came with another sha256 than it was sent with")
