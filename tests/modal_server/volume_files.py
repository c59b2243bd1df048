"""RPCs about the files of volumes, as clients put, get, list and remove them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_server import answering, volumes
from tests.modal_server import holdings as holding

BLOCK_SIZE = 8 * 1024 * 1024
"""As in the client's ``BLOCK_SIZE``, which it counts in."""


class VolumeFiles:
    """Clients work on what is committed, without a commit."""

    def __init__(self, holdings: holding.Holdings, known: volumes.Volumes) -> None:
        """Serve the files of the volumes ``known``."""
        self._holdings = holdings
        self._volumes = known

    async def VolumeListFiles(
        self, request: api_pb2.VolumeListFilesRequest, caller: answering.Caller
    ) -> AsyncIterator[Message]:
        yield api_pb2.VolumeListFilesResponse(entries=self._entries(request))

    async def VolumeListFiles2(
        self, request: api_pb2.VolumeListFiles2Request, caller: answering.Caller
    ) -> AsyncIterator[Message]:
        yield api_pb2.VolumeListFiles2Response(entries=self._entries(request))

    async def VolumeGetFile2(
        self, request: api_pb2.VolumeGetFile2Request, caller: answering.Caller
    ) -> Message:
        path = self._path(request.volume_id, request.path)
        if not path.is_file():
            raise GRPCError(Status.NOT_FOUND, f"{request.path!r} is not a file of the volume.")
        size = path.stat().st_size
        start, length = request.start, request.len or size - request.start
        name = request.path.strip("/").encode().hex()  # no name that a URL would change
        urls = [
            f"{self._holdings.files_url}/volume/{request.volume_id}/"
            f"{at}/{min(BLOCK_SIZE, start + length - at)}/{name}"
            for at in range(start, start + length, BLOCK_SIZE)
        ]
        return api_pb2.VolumeGetFile2Response(get_urls=urls, size=size, start=start, len=length)

    async def VolumePutFiles(
        self, request: api_pb2.VolumePutFilesRequest, caller: answering.Caller
    ) -> Message:
        paths = [self._path(request.volume_id, each.filename) for each in request.files]
        _refuse_existing(paths, refuse=request.disallow_overwrite_existing_files)
        for path, each in zip(paths, request.files, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._holdings.folder("files") / each.sha256_hex, path)
        return Empty()

    async def VolumePutFiles2(
        self, request: api_pb2.VolumePutFiles2Request, caller: answering.Caller
    ) -> Message:
        blocks = self._holdings.folder("blocks")
        missing = [
            api_pb2.VolumePutFiles2Response.MissingBlock(
                file_index=i,
                block_index=j,
                put_url=f"{self._holdings.files_url}/block/{block.contents_sha256.hex()}",
            )
            for i, file in enumerate(request.files)
            for j, block in enumerate(file.blocks)
            if not (blocks / block.contents_sha256.hex()).exists()
        ]
        if missing:
            return api_pb2.VolumePutFiles2Response(missing_blocks=missing)
        paths = [self._path(request.volume_id, each.path) for each in request.files]
        _refuse_existing(paths, refuse=request.disallow_overwrite_existing_files)
        for path, file in zip(paths, request.files, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            content = b"".join((blocks / b.contents_sha256.hex()).read_bytes() for b in file.blocks)
            # A block's trailing zeros may have been left off.
            path.write_bytes(content.ljust(file.size, b"\0"))
        return api_pb2.VolumePutFiles2Response()

    async def VolumeRemoveFile(
        self, request: api_pb2.VolumeRemoveFileRequest, caller: answering.Caller
    ) -> Message:
        path = self._path(request.volume_id, request.path)
        if path.is_dir():
            if not request.recursive:
                raise GRPCError(Status.INVALID_ARGUMENT, f"{request.path!r} is a folder.")
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        else:
            raise GRPCError(Status.NOT_FOUND, f"No such file or folder: {request.path!r}.")
        return Empty()

    async def VolumeRemoveFile2(
        self, request: api_pb2.VolumeRemoveFile2Request, caller: answering.Caller
    ) -> Message:
        return await self.VolumeRemoveFile(request, caller)

    async def VolumeCopyFiles(
        self, request: api_pb2.VolumeCopyFilesRequest, caller: answering.Caller
    ) -> Message:
        target = self._path(request.volume_id, request.dst_path)
        for name in request.src_paths:
            source = self._path(request.volume_id, name)
            if not source.exists():
                raise GRPCError(Status.NOT_FOUND, f"No such file or folder: {name!r}.")
            into = target / source.name if target.is_dir() else target
            into.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, into, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, into)
        return Empty()

    async def VolumeCopyFiles2(
        self, request: api_pb2.VolumeCopyFiles2Request, caller: answering.Caller
    ) -> Message:
        return await self.VolumeCopyFiles(request, caller)

    def _entries(
        self, request: api_pb2.VolumeListFilesRequest | api_pb2.VolumeListFiles2Request
    ) -> list[api_pb2.FileEntry]:
        root = self._volumes.committed(request.volume_id)
        path = self._path(request.volume_id, request.path)
        if not path.exists():
            raise GRPCError(Status.NOT_FOUND, f"No such file or folder: {request.path!r}.")
        if path.is_file():
            return [_entry(path, root)]
        paths = path.rglob("*") if request.recursive else path.glob("*")
        return [_entry(each, root) for each in sorted(paths)]

    def _path(self, volume_id: str, name: str) -> Path:
        root = self._volumes.committed(volume_id).resolve()
        path = (root / name.lstrip("/")).resolve()
        if not path.is_relative_to(root):
            raise GRPCError(Status.INVALID_ARGUMENT, f"{name!r} lies outside of the volume.")
        return path


def digest(content: bytes) -> str:
    """Return what a block is named after."""
    return hashlib.sha256(content).hexdigest()


def _entry(path: Path, root: Path) -> api_pb2.FileEntry:
    about = path.stat()
    kind = api_pb2.FileEntry.DIRECTORY if path.is_dir() else api_pb2.FileEntry.FILE
    return api_pb2.FileEntry(
        path=str(path.relative_to(root)),
        type=kind,
        mtime=int(about.st_mtime),
        size=0 if path.is_dir() else about.st_size,
    )


def _refuse_existing(paths: list[Path], *, refuse: bool) -> None:
    there = [path.name for path in paths if path.exists()] if refuse else []
    if there:
        raise GRPCError(Status.ALREADY_EXISTS, f"Files exist already: {', '.join(there)}.")
