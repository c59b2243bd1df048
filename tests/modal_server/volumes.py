"""RPCs about volumes: what is committed, and what each container has in hand."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_server import answering, environments, trees, world
from tests.modal_server import holdings as holding

_V1, _V2 = api_pb2.VOLUME_FS_VERSION_V1, api_pb2.VOLUME_FS_VERSION_V2


class Volumes:
    """A container writes into a copy of its own: others see nothing of it before it commits."""

    def __init__(self, holdings: holding.Holdings) -> None:
        """Serve the volumes of ``holdings``."""
        self._holdings = holdings

    async def VolumeGetOrCreate(
        self, request: api_pb2.VolumeGetOrCreateRequest, caller: answering.Caller
    ) -> Message:
        environment = request.environment_name or environments.DEFAULT
        known = self._named(request.deployment_name, environment)
        kind = request.object_creation_type
        if known and kind == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise GRPCError(Status.ALREADY_EXISTS, f"Volume {known.name!r} already exists.")
        if known is None and kind == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            raise GRPCError(
                Status.NOT_FOUND,
                f"Volume {request.deployment_name!r} not found in environment {environment!r}.",
            )
        if known is None:
            known = world.Volume(
                volume_id=world.new_id("vo"),
                environment=environment,
                version=_V2 if request.version == _V2 else _V1,
                name=request.deployment_name,
            )
            self._keep(known)
        return api_pb2.VolumeGetOrCreateResponse(
            volume_id=known.volume_id, version=known.version, metadata=metadata(known)
        )

    async def VolumeGetById(
        self, request: api_pb2.VolumeGetByIdRequest, caller: answering.Caller
    ) -> Message:
        volume = holding.found(self._holdings.volumes, request.volume_id, "Volume")
        return api_pb2.VolumeGetByIdResponse(volume_id=volume.volume_id, metadata=metadata(volume))

    async def VolumeHeartbeat(
        self, request: api_pb2.VolumeHeartbeatRequest, caller: answering.Caller
    ) -> Message:
        return Empty()

    async def VolumeCommit(
        self, request: api_pb2.VolumeCommitRequest, caller: answering.Caller
    ) -> Message:
        container = caller.running()
        copy = self._copy(container, request.volume_id)
        before = _read_marks(copy)
        changed = await asyncio.to_thread(
            trees.carry, copy, self.committed(request.volume_id), before
        )
        _write_marks(copy)
        self._holdings.note(
            "volume_commit",
            volume_id=request.volume_id,
            name=self._holdings.volumes[request.volume_id].name,
            task_id=container.task_id,
            files=sorted(changed),
        )
        # What others have committed is not to come in by the way: only a reload brings it.
        return api_pb2.VolumeCommitResponse(skip_reload=True)

    async def VolumeReload(
        self, request: api_pb2.VolumeReloadRequest, caller: answering.Caller
    ) -> Message:
        container = caller.running()
        copy = self._copy(container, request.volume_id)
        if _has_open_files(container.pid, copy):
            raise GRPCError(
                Status.FAILED_PRECONDITION, "there are open files preventing the operation"
            )
        before, now = _read_marks(copy), trees.marks(copy)
        uncommitted = {name for name, mark in now.items() if before.get(name) != mark}
        await asyncio.to_thread(
            trees.mirror, self.committed(request.volume_id), copy, keep=uncommitted
        )
        _write_marks(copy, but=uncommitted)
        return Empty()

    async def VolumeList(
        self, request: api_pb2.VolumeListRequest, caller: answering.Caller
    ) -> Message:
        environment = request.environment_name or environments.DEFAULT
        items = [
            api_pb2.VolumeListItem(
                label=each.name,
                volume_id=each.volume_id,
                created_at=each.created_at,
                metadata=metadata(each),
            )
            for each in self._holdings.volumes.values()
            if each.name and each.environment == environment
            if each.created_at < (request.pagination.created_before or float("inf"))
        ]
        return api_pb2.VolumeListResponse(items=items[::-1], environment_name=environment)

    async def VolumeDelete(
        self, request: api_pb2.VolumeDeleteRequest, caller: answering.Caller
    ) -> Message:
        volume = holding.found(self._holdings.volumes, request.volume_id, "Volume")
        del self._holdings.volumes[volume.volume_id]
        self._holdings.keeper.forget(volume)
        return Empty()

    async def VolumeRename(
        self, request: api_pb2.VolumeRenameRequest, caller: answering.Caller
    ) -> Message:
        volume = holding.found(self._holdings.volumes, request.volume_id, "Volume")
        volume.name = request.name
        self._keep(volume)
        return Empty()

    def committed(self, volume_id: str) -> Path:
        """Return the folder of what is committed."""
        holding.found(self._holdings.volumes, volume_id, "Volume")
        return self._holdings.folder("volumes", volume_id)

    def give(self, volume_id: str, folder: Path) -> None:
        """Fill ``folder`` with what is committed, as a container finds it when it starts."""
        trees.mirror(self.committed(volume_id), folder, keep=set())
        _write_marks(folder)

    def _copy(self, container: world.Container, volume_id: str) -> Path:
        if volume_id not in container.volumes:
            raise GRPCError(
                Status.NOT_FOUND, f"Volume {volume_id} is not mounted in this container."
            )
        return Path(container.volumes[volume_id])

    def _named(self, name: str, environment: str) -> world.Volume | None:
        volumes = self._holdings.volumes.values() if name else ()
        return next((v for v in volumes if (v.name, v.environment) == (name, environment)), None)

    def _keep(self, volume: world.Volume) -> None:
        self._holdings.volumes[volume.volume_id] = volume
        self._holdings.keeper.save(volume)


def metadata(volume: world.Volume) -> api_pb2.VolumeMetadata:
    """Return what clients are told of a volume."""
    return api_pb2.VolumeMetadata(
        version=volume.version,
        name=volume.name,
        creation_info=api_pb2.CreationInfo(created_at=volume.created_at, created_by="test"),
    )


def _marks_file(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.marks")


def _read_marks(copy: Path) -> trees.Marks:
    found = json.loads(_marks_file(copy).read_text())
    return {name: (mark[0], mark[1], mark[2]) for name, mark in found.items()}


def _write_marks(copy: Path, but: set[str] | None = None) -> None:
    found = {name: mark for name, mark in trees.marks(copy).items() if name not in (but or set())}
    _marks_file(copy).write_text(json.dumps(found))


def _has_open_files(pid: int, copy: Path) -> bool:
    # The paths of a container are not this process's, but files are the same by device and inode.
    ours = {(about.st_dev, about.st_ino) for about in map(os.lstat, _walked(copy))}
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for name in names:
        try:
            about = os.stat(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if (about.st_dev, about.st_ino) in ours:
            return True
    return False


def _walked(copy: Path) -> list[str]:
    return [os.path.join(parent, name) for parent, _, names in os.walk(copy) for name in names]
