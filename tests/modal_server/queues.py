"""RPCs about queues."""

from __future__ import annotations

import base64
import time

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_server import answering, environments, named_objects, world
from tests.modal_server import holdings as holding

CAPACITY = 5000
"""So many values a partition holds, as in the service."""
_Item = tuple[int, str]


class Queues:
    """A queue has partitions; each is first in, first out."""

    def __init__(self, holdings: holding.Holdings) -> None:
        """Serve the queues of ``holdings``."""
        self._holdings = holdings

    async def QueueGetOrCreate(
        self, request: api_pb2.QueueGetOrCreateRequest, caller: answering.Caller
    ) -> Message:
        known = named_objects.get_or_create(self._holdings, "queue", "qu", request)
        return api_pb2.QueueGetOrCreateResponse(queue_id=known.object_id, metadata=_metadata(known))

    async def QueueGetById(
        self, request: api_pb2.QueueGetByIdRequest, caller: answering.Caller
    ) -> Message:
        known = self._found(request.queue_id)
        return api_pb2.QueueGetByIdResponse(queue_id=known.object_id, metadata=_metadata(known))

    async def QueueHeartbeat(
        self, request: api_pb2.QueueHeartbeatRequest, caller: answering.Caller
    ) -> Message:
        return Empty()

    async def QueuePut(self, request: api_pb2.QueuePutRequest, caller: answering.Caller) -> Message:
        known = self._found(request.queue_id)
        items = _items(known, request.partition_key)
        if len(items) + len(request.values) > CAPACITY:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, f"Queue is full: it holds {CAPACITY}.")
        last = int(str(known.content.get("last", 0)))
        for number, value in enumerate(request.values, last + 1):
            items.append((number, base64.b64encode(value).decode()))
        known.content["last"] = last + len(request.values)
        self._keep(known, request.partition_key, items)
        self._holdings.bells.ring(f"queue:{known.object_id}")
        return Empty()

    async def QueueGet(self, request: api_pb2.QueueGetRequest, caller: answering.Caller) -> Message:
        known = self._found(request.queue_id)
        until = time.monotonic() + request.timeout
        while not (items := _items(known, request.partition_key)):
            left = until - time.monotonic()
            if left <= 0:
                return api_pb2.QueueGetResponse()
            await self._holdings.bells.wait(f"queue:{known.object_id}", left)
        count = request.n_values or 1
        self._keep(known, request.partition_key, items[count:])
        values = [base64.b64decode(value) for _, value in items[:count]]
        return api_pb2.QueueGetResponse(values=values)

    async def QueueNextItems(
        self, request: api_pb2.QueueNextItemsRequest, caller: answering.Caller
    ) -> Message:
        known = self._found(request.queue_id)
        until = time.monotonic() + request.item_poll_timeout
        last = int(request.last_entry_id or 0)
        while True:
            items = [each for each in _items(known, request.partition_key) if each[0] > last]
            left = until - time.monotonic()
            if items or left <= 0:
                break
            await self._holdings.bells.wait(f"queue:{known.object_id}", left)
        return api_pb2.QueueNextItemsResponse(
            items=[
                api_pb2.QueueItem(value=base64.b64decode(value), entry_id=str(number))
                for number, value in items
            ]
        )

    async def QueueLen(self, request: api_pb2.QueueLenRequest, caller: answering.Caller) -> Message:
        known = self._found(request.queue_id)
        partitions = _partitions(known) if request.total else [request.partition_key]
        return api_pb2.QueueLenResponse(len=sum(len(_items(known, each)) for each in partitions))

    async def QueueClear(
        self, request: api_pb2.QueueClearRequest, caller: answering.Caller
    ) -> Message:
        known = self._found(request.queue_id)
        partitions = _partitions(known) if request.all_partitions else [request.partition_key]
        for each in partitions:
            self._keep(known, each, [])
        return Empty()

    async def QueueDelete(
        self, request: api_pb2.QueueDeleteRequest, caller: answering.Caller
    ) -> Message:
        named_objects.delete(self._holdings, request.queue_id)
        return Empty()

    async def QueueList(
        self, request: api_pb2.QueueListRequest, caller: answering.Caller
    ) -> Message:
        environment = request.environment_name or environments.DEFAULT
        known = named_objects.of(self._holdings, "queue", environment)
        queues = [
            api_pb2.QueueListResponse.QueueInfo(
                name=each.name,
                created_at=each.created_at,
                num_partitions=len(_partitions(each)),
                total_size=sum(len(_items(each, key)) for key in _partitions(each)),
                queue_id=each.object_id,
                metadata=_metadata(each),
            )
            for each in reversed(known)
            if each.name
        ]
        return api_pb2.QueueListResponse(queues=queues, environment_name=environment)

    def _found(self, queue_id: str) -> world.Named:
        return holding.found(self._holdings.named, queue_id, "Queue")

    def _keep(self, known: world.Named, partition: bytes, items: list[_Item]) -> None:
        known.content[f"partition:{partition.hex()}"] = items
        self._holdings.keeper.save(known)


def _items(known: world.Named, partition: bytes) -> list[_Item]:
    kept = known.content.get(f"partition:{partition.hex()}", [])
    assert isinstance(kept, list)
    return [(number, value) for number, value in kept]


def _partitions(known: world.Named) -> list[bytes]:
    keys = [key for key in known.content if key != "last"]
    return [bytes.fromhex(key.removeprefix("partition:")) for key in keys]


def _metadata(each: world.Named) -> api_pb2.QueueMetadata:
    return api_pb2.QueueMetadata(name=each.name, creation_info=named_objects.creation(each))
