"""RPCs about dicts."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from modal_proto import api_pb2

from tests.modal_server import answering, environments, named_objects, world
from tests.modal_server import holdings as holding


class Dicts:
    """Keys and values are bytes, which the server does not look into."""

    def __init__(self, holdings: holding.Holdings) -> None:
        """Serve the dicts of ``holdings``."""
        self._holdings = holdings
        self._entries: defaultdict[str, dict[str, world.Entry]] = defaultdict(dict)
        for entry in holdings.entries.values():
            self._entries[entry.object_id][entry.key] = entry

    async def DictGetOrCreate(
        self, request: api_pb2.DictGetOrCreateRequest, caller: answering.Caller
    ) -> Message:
        known = named_objects.get_or_create(self._holdings, "dict", "di", request)
        self._update(known, request.data)
        return api_pb2.DictGetOrCreateResponse(dict_id=known.object_id, metadata=_metadata(known))

    async def DictGetById(
        self, request: api_pb2.DictGetByIdRequest, caller: answering.Caller
    ) -> Message:
        known = self._found(request.dict_id)
        return api_pb2.DictGetByIdResponse(dict_id=known.object_id, metadata=_metadata(known))

    async def DictHeartbeat(
        self, request: api_pb2.DictHeartbeatRequest, caller: answering.Caller
    ) -> Message:
        return Empty()

    async def DictGet(self, request: api_pb2.DictGetRequest, caller: answering.Caller) -> Message:
        entry = self._content(request.dict_id).get(_text(request.key))
        if entry is None:
            return api_pb2.DictGetResponse(found=False)
        return api_pb2.DictGetResponse(found=True, value=_bytes(entry.value))

    async def DictContains(
        self, request: api_pb2.DictContainsRequest, caller: answering.Caller
    ) -> Message:
        found = _text(request.key) in self._content(request.dict_id)
        return api_pb2.DictContainsResponse(found=found)

    async def DictLen(self, request: api_pb2.DictLenRequest, caller: answering.Caller) -> Message:
        return api_pb2.DictLenResponse(len=len(self._content(request.dict_id)))

    async def DictUpdate(
        self, request: api_pb2.DictUpdateRequest, caller: answering.Caller
    ) -> Message:
        known = self._found(request.dict_id)
        content = self._content(request.dict_id)
        fresh = [each for each in request.updates if _text(each.key) not in content]
        self._update(known, fresh if request.if_not_exists else request.updates)
        return api_pb2.DictUpdateResponse(created=bool(fresh))

    async def DictPop(self, request: api_pb2.DictPopRequest, caller: answering.Caller) -> Message:
        entry = self._content(request.dict_id).get(_text(request.key))
        if entry is None:
            return api_pb2.DictPopResponse(found=False)
        self._forget(entry)
        return api_pb2.DictPopResponse(found=True, value=_bytes(entry.value))

    async def DictClear(
        self, request: api_pb2.DictClearRequest, caller: answering.Caller
    ) -> Message:
        for entry in list(self._content(request.dict_id).values()):
            self._forget(entry)
        return Empty()

    async def DictContents(
        self, request: api_pb2.DictContentsRequest, caller: answering.Caller
    ) -> AsyncIterator[Message]:
        for entry in list(self._content(request.dict_id).values()):
            yield api_pb2.DictEntry(
                key=_bytes(entry.key) if request.keys else b"",
                value=_bytes(entry.value) if request.values else b"",
            )

    async def DictDelete(
        self, request: api_pb2.DictDeleteRequest, caller: answering.Caller
    ) -> Message:
        for entry in list(self._content(request.dict_id).values()):
            self._forget(entry)
        named_objects.delete(self._holdings, request.dict_id)
        return Empty()

    async def DictList(self, request: api_pb2.DictListRequest, caller: answering.Caller) -> Message:
        environment = request.environment_name or environments.DEFAULT
        known = named_objects.of(self._holdings, "dict", environment)
        dicts = [
            api_pb2.DictListResponse.DictInfo(
                name=each.name,
                created_at=each.created_at,
                dict_id=each.object_id,
                metadata=_metadata(each),
            )
            for each in reversed(known)
            if each.name
        ]
        return api_pb2.DictListResponse(dicts=dicts, environment_name=environment)

    def _found(self, dict_id: str) -> world.Named:
        return holding.found(self._holdings.named, dict_id, "Dict")

    def _content(self, dict_id: str) -> dict[str, world.Entry]:
        return self._entries[self._found(dict_id).object_id]

    def _update(self, known: world.Named, updates: Iterable[api_pb2.DictEntry]) -> None:
        # One by one: a dict of thousands is not written anew with each claim.
        for each in updates:
            key = _text(each.key)
            entry = world.Entry(
                entry_id=f"{known.object_id}/{key}",
                object_id=known.object_id,
                key=key,
                value=_text(each.value),
            )
            self._entries[known.object_id][key] = entry
            self._holdings.entries[entry.entry_id] = entry
            self._holdings.keeper.save(entry)

    def _forget(self, entry: world.Entry) -> None:
        del self._entries[entry.object_id][entry.key]
        del self._holdings.entries[entry.entry_id]
        self._holdings.keeper.forget(entry)


def _metadata(each: world.Named) -> api_pb2.DictMetadata:
    return api_pb2.DictMetadata(name=each.name, creation_info=named_objects.creation(each))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
