"""The connections of boto3 to a server, which is imported in this room alone, and late."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.storage.access import Access

CONNECTIONS = 32


class _Clients:
    """The clients of this process; after a fork the child has none, and a lock of its own."""

    def __init__(self) -> None:
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Access, Any] = {}

    def of(self, access: Access) -> Any:
        with self._lock:
            if access not in self._made:
                self._made[access] = make_client(access, connect=5, read=access.timeout, attempts=3)
            return self._made[access]


client_of = _Clients().of  # boto3 takes a tenth of a second to make one


def make_client(access: Access, *, connect: float, read: float, attempts: int) -> Any:
    """Return a client of boto3, which is imported here and only when it is needed."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise StorageError(
            "s3:// needs boto3, which is not installed. Install it with: "
            "pip install 'pytest-gpuexp[tigris]'"
        ) from error
    session = boto3.session.Session(
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        aws_session_token=access.session_token,
        region_name=access.region,
    )
    return session.client(
        "s3",
        endpoint_url=access.endpoint,
        config=Config(
            signature_version="s3v4",
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=CONNECTIONS,
            connect_timeout=connect,
            read_timeout=read,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # The server then checks each body against the signed sha256, over HTTPS too.
            s3={"addressing_style": access.addressing, "payload_signing_enabled": True},
        ),
    )


def send_in_parts(
    client: Any, path: Path, bucket: str, key: str, *, metadata: Mapping[str, str]
) -> None:
    """Put a large file under ``key``; where that fails its parts are removed."""
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    # Not client.upload_file: that hides what the server said.
    with create_transfer_manager(client, TransferConfig()) as manager:
        manager.upload(str(path), bucket, key, extra_args={"Metadata": dict(metadata)}).result()
