"""The connections to a server: boto3's, and those of requests for what is small."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.storage.access import Access
from pytest_gpuexp.storage.signed_requests import CONNECTIONS, Region, SignedRequests

_CONNECT_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """The two ways to one bucket: a client of boto3, and ``requests`` for what is small."""

    client: Any
    requests: SignedRequests
    _base: str
    _authority: str | None
    _region: Region

    def impatient(self, access: Access, *, connect: float, read: float) -> SignedRequests:
        """Return requests that end after so many seconds of silence."""
        return SignedRequests(
            access,
            base=self._base,
            authority=self._authority,
            region=self._region,
            connect=connect,
            read=read,
        )


class _Clients:
    """The clients of this process; after a fork the child has none, and a lock of its own."""

    def __init__(self) -> None:
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Access, Connections] = {}

    def of(self, access: Access) -> Connections:
        with self._lock:
            if access not in self._made:
                self._made[access] = _connect(access)
            return self._made[access]


connections_of = _Clients().of  # boto3 takes a tenth of a second to make a client


def _connect(access: Access) -> Connections:
    """Return connections by boto3, which is imported here and only when it is needed."""
    try:
        import boto3
        import botocore.session
        from botocore.config import Config
    except ImportError as error:
        raise StorageError(
            "s3:// needs boto3, which is not installed. Install it with: "
            "pip install 'pytest-gpuexp[tigris]'"
        ) from error
    settings = botocore.session.Session()
    session = boto3.session.Session(
        botocore_session=settings,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        aws_session_token=access.session_token,
        region_name=access.region,
    )
    client = session.client(
        "s3",
        endpoint_url=access.endpoint,
        config=Config(
            signature_version="s3v4",
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=CONNECTIONS,
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=access.timeout,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # The server then checks each body against the signed sha256, over HTTPS too.
            s3={"addressing_style": access.addressing, "payload_signing_enabled": True},
        ),
    )
    # boto3 knows which buckets can be a part of the host's name, whatever was asked for.
    link: str = client.generate_presigned_url(
        "get_object", Params={"Bucket": access.bucket, "Key": "k"}
    )
    base = link.partition("?")[0].removesuffix("k")
    authority: str | None = settings.get_config_variable("ca_bundle")
    region = Region(access.region)
    requests = SignedRequests(
        access,
        base=base,
        authority=authority,
        region=region,
        connect=_CONNECT_SECONDS,
        read=access.timeout,
    )
    return Connections(
        client=client, requests=requests, _base=base, _authority=authority, _region=region
    )


def send_in_parts(
    client: Any, path: Path, bucket: str, key: str, *, metadata: Mapping[str, str]
) -> None:
    """Put a large file under ``key``; where that fails its parts are removed."""
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    # Not client.upload_file: that hides what the server said.
    with create_transfer_manager(client, TransferConfig()) as manager:
        manager.upload(str(path), bucket, key, extra_args={"Metadata": dict(metadata)}).result()
