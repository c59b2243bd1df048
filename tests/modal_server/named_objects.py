"""Objects that are made when they are first named: queues and dicts."""

from __future__ import annotations

from typing import Protocol

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_server import environments, world
from tests.modal_server import holdings as holding


class Request(Protocol):
    """What the requests for such objects have in common."""

    @property
    def deployment_name(self) -> str: ...
    @property
    def environment_name(self) -> str: ...
    @property
    def object_creation_type(self) -> api_pb2.ObjectCreationType.ValueType: ...


def get_or_create(
    holdings: holding.Holdings, kind: str, prefix: str, request: Request
) -> world.Named:
    """Return the object that ``request`` names, made where it asks for that.

    Raises:
        GRPCError: it is missing, or it exists where that was refused.
    """
    environment = request.environment_name or environments.DEFAULT
    name, creation = request.deployment_name, request.object_creation_type
    known = next(
        (each for each in of(holdings, kind, environment) if name and each.name == name), None
    )
    if known and creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
        raise GRPCError(Status.ALREADY_EXISTS, f"{kind.title()} {name!r} already exists.")
    if known is None and creation == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
        raise GRPCError(
            Status.NOT_FOUND, f"{kind.title()} {name!r} not found in environment {environment!r}."
        )
    if known is None:
        known = world.Named(
            object_id=world.new_id(prefix), kind=kind, environment=environment, name=name
        )
        holdings.named[known.object_id] = known
        holdings.keeper.save(known)
    return known


def of(holdings: holding.Holdings, kind: str, environment: str) -> list[world.Named]:
    """Return the objects of a kind, oldest first."""
    named = holdings.named.values()
    return [each for each in named if (each.kind, each.environment) == (kind, environment)]


def creation(each: world.Named) -> api_pb2.CreationInfo:
    """Return when an object was made."""
    return api_pb2.CreationInfo(created_at=each.created_at, created_by="test")


def delete(holdings: holding.Holdings, object_id: str) -> None:
    """Remove an object."""
    gone = holding.found(holdings.named, object_id, "Object")
    del holdings.named[object_id]
    holdings.keeper.forget(gone)
