"""RPCs and addresses of blobs: what is too large for a message goes by HTTP."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiohttp import web
from google.protobuf.message import Message
from modal_proto import api_pb2

from tests.modal_server import answering, volume_files, world
from tests.modal_server import holdings as holding


class Blobs:
    """A blob is put once under the address that it was given, and got from there."""

    def __init__(self, holdings: holding.Holdings) -> None:
        """Serve the blobs of ``holdings``."""
        self._holdings = holdings

    async def BlobCreate(
        self, request: api_pb2.BlobCreateRequest, caller: answering.Caller
    ) -> Message:
        blob_id = world.new_id("bl")
        self._holdings.note("blob", blob_id=blob_id, size=request.content_length)
        url = f"{self._holdings.files_url}/blob/{blob_id}"
        return api_pb2.BlobCreateResponse(
            blob_ids=[blob_id], upload_urls=api_pb2.UploadUrlList(items=[url])
        )

    async def BlobGet(self, request: api_pb2.BlobGetRequest, caller: answering.Caller) -> Message:
        url = f"{self._holdings.files_url}/blob/{request.blob_id}"
        return api_pb2.BlobGetResponse(download_url=url)

    def routes(self) -> list[web.RouteDef]:
        """Return what is put and got by HTTP."""
        return [
            web.put("/blob/{name}", self._put),
            web.put("/block/{name}", self._put_block),
            web.get("/blob/{name}", self._get),
            web.get("/volume/{volume}/{start}/{length}/{path}", self._get_block),
        ]

    async def _put(self, request: web.Request) -> web.Response:
        content = await request.read()
        path = self._holdings.folder("blobs") / request.match_info["name"]
        path.write_bytes(content)
        return web.Response(headers={"ETag": f'"{hashlib.md5(content).hexdigest()}"'})

    async def _put_block(self, request: web.Request) -> web.Response:
        content = await request.read()
        name = request.match_info["name"]
        # The client hashes a block with its zeros; it is named as it named it.
        (self._holdings.folder("blocks") / name).write_bytes(content)
        return web.Response(body=volume_files.digest(content).encode())

    async def _get(self, request: web.Request) -> web.StreamResponse:
        path = self._holdings.folder("blobs") / request.match_info["name"]
        if not path.is_file():
            raise web.HTTPNotFound(text="no such blob")
        return web.FileResponse(path)

    async def _get_block(self, request: web.Request) -> web.Response:
        about = request.match_info
        root = self._holdings.folder("volumes", about["volume"])
        with Path(root, bytes.fromhex(about["path"]).decode()).open("rb") as file:
            file.seek(int(about["start"]))
            return web.Response(body=file.read(int(about["length"])))
