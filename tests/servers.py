"""Starts real S3 servers on this machine, and ends them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests import measuring

ACCESS_KEY, SECRET_KEY, BUCKET = "test-access", "test-secret-4711", "experiments"
RUNNING: set[int] = set()
"""The servers of this session: they serve many tests, and no test leaves them behind."""
_READY_SECONDS = 60.0
_FIRST_PORT, _SHARES, _PORTS = 12000, 4, 2500


def running() -> set[int]:
    """Return the servers of this session, and what they have started (as containers)."""
    found = set(RUNNING)
    for pid in RUNNING:
        with suppress(psutil.NoSuchProcess):
            found |= {each.pid for each in psutil.Process(pid).children(recursive=True)}
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that has started, with the bucket ``BUCKET``."""

    endpoint: str
    certificate: str | None = None

    def environ(self, **changes: str) -> dict[str, str]:
        """Return what a storage must find in the environment; ``changes`` are TMGG_TIGRIS_*."""
        values = {
            "ACCESS_KEY": ACCESS_KEY,
            "SECRET_KEY": SECRET_KEY,
            "ENDPOINT": self.endpoint,
            "ADDRESSING": "path",
            "PATIENCE": "20",
            **changes,
        }
        return {f"TMGG_TIGRIS_{name}": value for name, value in values.items()}

    def client(self) -> Any:
        """Return a bare client, to look at the bucket from aside."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            verify=self.certificate,
            config=Config(
                retries={"total_max_attempts": 1},
                connect_timeout=2,
                read_timeout=20,
                s3={"addressing_style": "path"},
            ),
        )

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys of the bucket below ``prefix``."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        client.close()
        return keys

    def get(self, key: str) -> bytes:
        """Return the bytes of one object."""
        client = self.client()
        data: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        client.close()
        return data


@contextmanager
def moto() -> Iterator[Server]:
    """Run moto's server: quick, and blind to wrong keys."""
    (port,) = free_ports(1)
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(words, {}, f"http://127.0.0.1:{port}") as server:
        yield server


@contextmanager
def seaweed(certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """Run SeaweedFS, which knows wrong keys; ``certificate`` (with its key) makes it speak TLS."""
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    keys = folder / "s3.json"
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    actions = ["Admin", "Read", "Write", "List"]
    identity = {"name": "test", "credentials": credentials, "actions": actions}
    keys.write_text(json.dumps({"identities": [identity]}))
    master, volume, filer, s3 = free_ports(4)
    tls = (
        [f"-s3.cert.file={certificate[0]}", f"-s3.key.file={certificate[1]}"] if certificate else []
    )
    words = [
        str(Path(sys.executable).with_name("weed")),
        *("server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}"),
        *("-s3", f"-s3.port={s3}", f"-s3.config={keys}", "-s3.port.iceberg=0", *tls),
        *("-s3.port.lance=0", "-s3.cacheCapacityMB=0", "-master.volumeSizeLimitMB=64"),
        *("-volume.max=100", "-master.telemetry=false"),
    ]
    scheme = "https" if certificate else "http"
    authority = str(certificate[0]) if certificate else None
    try:
        with _running(
            words, {"GOMEMLIMIT": "400MiB"}, f"{scheme}://127.0.0.1:{s3}", authority
        ) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(
    words: Sequence[str],
    changes: Mapping[str, str],
    endpoint: str,
    certificate: str | None = None,
) -> Iterator[Server]:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            words,
            env={**measuring.unmeasured(os.environ), **changes},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        RUNNING.add(process.pid)
        try:
            server = Server(endpoint=endpoint, certificate=certificate)
            _make_bucket(server, process)
            yield server
        finally:
            process.kill()
            process.wait()
            RUNNING.remove(process.pid)


def _make_bucket(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server keeps what it is given: an open port says little."""
    deadline = time.monotonic() + _READY_SECONDS
    client = server.client()
    while True:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
            client.delete_object(Bucket=BUCKET, Key="ready")
            client.close()
            return
        except (BotoCoreError, ClientError):
            assert time.monotonic() < deadline, "the server never became ready"
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Return ports that are free, with the one 10,000 above each, which SeaweedFS takes too.

    A server binds its own only a second later, so each of xdist's workers looks where no other
    does, below what the system gives to connections. What tests seed has no say in it.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _FIRST_PORT + worker % _SHARES * _PORTS
    found: list[int] = []
    while len(found) < count:
        port = first + secrets.randbelow(_PORTS)
        if port not in found and _is_free(port) and _is_free(port + 10000):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
