"""Answers RPCs: finds who asks, lets faults befall, hands over to the family that knows the RPC."""

from __future__ import annotations

import asyncio
import functools
import inspect
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.const import Handler
from grpclib.server import Stream
from modal_proto import api_grpc

from tests.modal_server import holdings as holding
from tests.modal_server import world

_CONTAINER = "3"
"""``CLIENT_TYPE_CONTAINER``: such a client bears no token, but the header given at its start."""
TASK_HEADER = "x-test-task-id"
_REMEMBERED = 4096
_ONCE = frozenset({"FunctionMap", "FunctionPutInputs", "FunctionPutOutputs", "QueuePut"})
"""What must not be done twice where the client, not having seen the answer, asks again."""

_ANONYMOUS = frozenset({"TokenFlowCreate", "TokenFlowWait"})
"""What is asked before there is a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: a client, or the container ``container``."""

    container: world.Container | None = None

    def running(self) -> world.Container:
        """Return the container that asks.

        Raises:
            GRPCError: a client asks for what is a container's.
        """
        if self.container is None:
            raise GRPCError(Status.FAILED_PRECONDITION, "Only a container may ask for this.")
        return self.container


class _Anything:
    """Stands in for a service whose RPCs are only to be listed."""

    def __getattr__(self, name: str) -> None:
        return None


class Service:
    """The whole of the RPCs, as grpclib's server wants them."""

    def __init__(self, holdings: holding.Holdings, families: Sequence[object]) -> None:
        """Serve the methods of ``families``, each called as the RPC that it answers."""
        self._holdings = holdings
        self._families = families
        self._given: OrderedDict[tuple[str, str], asyncio.Future[Message]] = OrderedDict()

    def __mapping__(self) -> dict[str, Handler]:
        """Return a handler for each RPC that the client knows."""
        stand_in = cast(api_grpc.ModalClientBase, _Anything())
        known = api_grpc.ModalClientBase.__mapping__(stand_in)
        return {path: self._handler(path.rpartition("/")[2], each) for path, each in known.items()}

    def _handler(self, name: str, known: Handler) -> Handler:
        method = next((getattr(f, name) for f in self._families if hasattr(f, name)), None)
        answer = self._answer(name, method)
        return Handler(answer, known.cardinality, known.request_type, known.reply_type)

    def _answer(
        self, name: str, method: Callable[..., Any] | None
    ) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def answer(stream: Stream[Any, Any]) -> None:
            request = await stream.recv_message()
            metadata = {str(key): str(value) for key, value in (stream.metadata or {}).items()}
            caller = Caller() if name in _ANONYMOUS else self._caller(metadata)
            fault = self._fault(name)
            await _befall(fault, lost=False)
            if method is None:
                raise GRPCError(
                    Status.UNIMPLEMENTED, f"The test server does not know the RPC {name}."
                )
            try:
                if inspect.isasyncgenfunction(method):
                    await stream.send_initial_metadata()
                    async for message in method(request, caller):
                        await stream.send_message(message)
                    return
                key = metadata.get("x-idempotency-key", "") if name in _ONCE else ""
                work = functools.partial(method, request, caller)
                given = await self._once(name, key, work)
                await _befall(fault, lost=True)
                await stream.send_message(given)
            except (GRPCError, asyncio.CancelledError, ConnectionError):
                raise
            except Exception as error:  # the server's own fault: a test must see which
                traceback.print_exc()
                raise GRPCError(
                    Status.DATA_LOSS, f"{name} failed in the test server: {error!r}"
                ) from error

        return answer

    async def _once(self, name: str, key: str, work: Callable[[], Awaitable[Message]]) -> Message:
        if not key:
            return await work()
        if (name, key) not in self._given:
            self._given[name, key] = asyncio.ensure_future(work())
            while len(self._given) > _REMEMBERED:
                self._given.popitem(last=False)
        # Shielded: a client that is gone must not undo half of it.
        return await asyncio.shield(self._given[name, key])

    def _caller(self, metadata: dict[str, str]) -> Caller:
        if metadata.get("x-modal-client-type") == _CONTAINER:
            task_id = metadata.get(TASK_HEADER, "")
            return Caller(container=holding.found(self._holdings.containers, task_id, "Container"))
        settings = self._holdings.settings
        given = (metadata.get("x-modal-token-id"), metadata.get("x-modal-token-secret"))
        if given != (settings.token_id, settings.token_secret):
            raise GRPCError(
                Status.UNAUTHENTICATED,
                "Could not authenticate client: the token ID or secret is wrong.",
            )
        return Caller()

    def _fault(self, name: str) -> holding.Fault | None:
        fault = next((f for f in self._holdings.faults if f.name == name and f.left > 0), None)
        if fault:
            fault.left -= 1
        return fault


async def _befall(fault: holding.Fault | None, *, lost: bool) -> None:
    if fault is None or fault.lost != lost:
        return
    await asyncio.sleep(fault.delay)
    if fault.status:
        raise GRPCError(Status[fault.status], fault.message or f"{fault.name} is made to fail.")
