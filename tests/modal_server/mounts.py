"""RPCs about mounts: local files that are sent once and placed where containers import them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path, PurePosixPath

from google.protobuf.message import Message
from modal_proto import api_pb2

from tests.modal_server import answering, world
from tests.modal_server import holdings as holding


class Mounts:
    """Files are kept by the sha256 of their bytes; a mount names some of them."""

    def __init__(self, holdings: holding.Holdings) -> None:
        """Serve the mounts of ``holdings``."""
        self._holdings = holdings

    async def MountBatchedCheckExistence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest, caller: answering.Caller
    ) -> Message:
        hashes = request.sha256_hex_hashes
        missing = [each for each in hashes if not self._file(each).exists()]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def MountPutFile(
        self, request: api_pb2.MountPutFileRequest, caller: answering.Caller
    ) -> Message:
        file = self._file(request.sha256_hex)
        kind = request.WhichOneof("data_oneof")
        if kind == "data_blob_id":
            shutil.copyfile(self._holdings.folder("blobs") / request.data_blob_id, file)
        elif kind == "data":
            file.write_bytes(request.data)
        return api_pb2.MountPutFileResponse(exists=file.exists())

    async def MountGetOrCreate(
        self, request: api_pb2.MountGetOrCreateRequest, caller: answering.Caller
    ) -> Message:
        files = sorted(
            (each.filename, each.sha256_hex, each.mode or 0o644) for each in request.files
        )
        checksum = hashlib.sha256(repr(files).encode()).hexdigest()
        # Mounts that the service publishes, as its own client, come by name and hold nothing here.
        key = checksum if files else request.deployment_name or checksum
        mount_id = f"mo-{hashlib.sha256(key.encode()).hexdigest()[:22]}"
        mount = world.Mount(mount_id=mount_id, files=files, checksum=checksum)
        self._holdings.mounts[mount_id] = mount
        self._holdings.keeper.save(mount)
        self._holdings.note("mount", mount_id=mount_id, files=[name for name, _, _ in files])
        return api_pb2.MountGetOrCreateResponse(
            mount_id=mount_id,
            handle_metadata=api_pb2.MountHandleMetadata(content_checksum_sha256_hex=checksum),
        )

    def _file(self, sha256: str) -> Path:
        return self._holdings.folder("files") / sha256


def place(holdings: holding.Holdings, mount_id: str, root: Path, below: str = "/") -> None:
    """Write the files of a mount into ``root``, each at its remote path below ``below``."""
    mount = holdings.mounts[mount_id]
    for name, sha256, mode in mount.files:
        remote = PurePosixPath("/", below, name.lstrip("/"))
        path = root.joinpath(*remote.parts[1:])
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(holdings.folder("files") / sha256, path)
        path.chmod(mode & 0o777)
