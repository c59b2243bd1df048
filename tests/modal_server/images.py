"""RPCs about images, which are recorded and never built."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from google.protobuf.message import Message
from modal_proto import api_pb2

from tests.modal_server import answering, environments, world
from tests.modal_server import holdings as holding


@dataclass(slots=True, kw_only=True)
class Layers:
    """What a container sees of its image: variables, folder, and mounts that are copied."""

    environ: dict[str, str] = field(default_factory=dict)
    workdir: str = "/root"
    copies: list[tuple[str, str]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


class Images:
    """Each image is built at once, since nothing is built; equal definitions are one image."""

    def __init__(self, holdings: holding.Holdings) -> None:
        """Serve the images of ``holdings``."""
        self._holdings = holdings

    async def ImageGetOrCreate(
        self, request: api_pb2.ImageGetOrCreateRequest, caller: answering.Caller
    ) -> Message:
        definition = request.image.SerializeToString(deterministic=True)
        image_id = f"im-{hashlib.sha256(definition).hexdigest()[:22]}"
        image = world.Image(image_id=image_id, definition=definition)
        self._holdings.images[image_id] = image
        self._holdings.keeper.save(image)
        self._holdings.note(
            "image",
            image_id=image_id,
            commands=list(request.image.dockerfile_commands),
            base_images=[each.image_id for each in request.image.base_images],
            secrets=list(request.image.secret_ids),
            force_build=request.force_build,
        )
        return api_pb2.ImageGetOrCreateResponse(
            image_id=image_id, result=_SUCCESS, metadata=_metadata()
        )

    async def ImageFromId(
        self, request: api_pb2.ImageFromIdRequest, caller: answering.Caller
    ) -> Message:
        image = holding.found(self._holdings.images, request.image_id, "Image")
        return api_pb2.ImageFromIdResponse(image_id=image.image_id, metadata=_metadata())

    async def ImageJoinStreaming(
        self, request: api_pb2.ImageJoinStreamingRequest, caller: answering.Caller
    ) -> AsyncIterator[Message]:
        yield api_pb2.ImageJoinStreamingResponse(result=_SUCCESS, metadata=_metadata(), eof=True)


def layers(holdings: holding.Holdings, image_id: str) -> Layers:
    """Return what the layers of an image and of those below it come to."""
    found = Layers()
    for image in _lowest_first(holdings, image_id):
        for command in image.dockerfile_commands:
            found.commands.append(command)
            _carry_out(command, image.context_mount_id, found)
    return found


def _lowest_first(holdings: holding.Holdings, image_id: str) -> Iterator[api_pb2.Image]:
    if image_id not in holdings.images:
        return
    image = api_pb2.Image.FromString(holdings.images[image_id].definition)
    for base in image.base_images:
        yield from _lowest_first(holdings, base.image_id)
    yield image


def _carry_out(command: str, mount_id: str, found: Layers) -> None:
    words = shlex.split(command) if command.startswith(("ENV ", "WORKDIR ", "COPY ")) else [""]
    if words[0] == "ENV":
        pairs = (word.partition("=") for word in words[1:])
        # Paths of the image mean nothing on this machine.
        found.environ.update({name: value for name, _, value in pairs if name != "PATH"})
    elif words[0] == "WORKDIR":
        found.workdir = words[1]
    elif words[0] == "COPY" and words[1] == "." and mount_id:
        found.copies.append((mount_id, words[2]))


_SUCCESS = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)


def _metadata() -> api_pb2.ImageMetadata:
    version = ".".join(map(str, sys.version_info[:3]))
    return api_pb2.ImageMetadata(
        python_version_info=f"Python {version}",
        image_builder_version=environments.BUILDER_VERSION,
        workdir="/root",
    )
