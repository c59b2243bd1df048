"""RPCs about secrets."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_server import answering, environments, world
from tests.modal_server import holdings as holding


class Secrets:
    """Secrets by name and environment, or anonymous ones; their values go to containers alone."""

    def __init__(self, holdings: holding.Holdings) -> None:
        """Serve the secrets of ``holdings``."""
        self._holdings = holdings

    async def SecretGetOrCreate(
        self, request: api_pb2.SecretGetOrCreateRequest, caller: answering.Caller
    ) -> Message:
        environment = request.environment_name or environments.DEFAULT
        known = self._named(request.deployment_name, environment)
        kind = request.object_creation_type
        if kind == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            known = self._checked(known, request, environment)
        elif known is None or not request.deployment_name:
            known = world.Secret(
                secret_id=world.new_id("st"),
                environment=environment,
                values=dict(request.env_dict),
                name=request.deployment_name,
            )
        elif kind == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise GRPCError(Status.ALREADY_EXISTS, f"Secret {known.name!r} already exists.")
        elif kind == api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
            known.values = dict(request.env_dict)
        self._keep(known)
        self._holdings.note(
            "secret", name=known.name, keys=sorted(known.values), secret_id=known.secret_id
        )
        return api_pb2.SecretGetOrCreateResponse(
            secret_id=known.secret_id, metadata=_metadata(known)
        )

    async def SecretGetInfo(
        self, request: api_pb2.SecretGetInfoRequest, caller: answering.Caller
    ) -> Message:
        secret = holding.found(self._holdings.secrets, request.secret_id, "Secret")
        return api_pb2.SecretGetInfoResponse(metadata=_metadata(secret))

    async def SecretUpdate(
        self, request: api_pb2.SecretUpdateRequest, caller: answering.Caller
    ) -> Message:
        secret = holding.found(self._holdings.secrets, request.secret_id, "Secret")
        for update in request.updates:
            if update.HasField("value"):
                secret.values[update.key] = update.value
            else:
                secret.values.pop(update.key, None)
        self._keep(secret)
        return Empty()

    async def SecretList(
        self, request: api_pb2.SecretListRequest, caller: answering.Caller
    ) -> Message:
        environment = request.environment_name or environments.DEFAULT
        items = [
            api_pb2.SecretListItem(
                label=each.name,
                created_at=each.created_at,
                secret_id=each.secret_id,
                environment_name=environment,
                metadata=_metadata(each),
            )
            for each in self._holdings.secrets.values()
            if each.name and each.environment == environment
            if each.created_at < (request.pagination.created_before or float("inf"))
        ]
        return api_pb2.SecretListResponse(items=items[::-1], environment_name=environment)

    async def SecretDelete(
        self, request: api_pb2.SecretDeleteRequest, caller: answering.Caller
    ) -> Message:
        secret = holding.found(self._holdings.secrets, request.secret_id, "Secret")
        del self._holdings.secrets[secret.secret_id]
        self._holdings.keeper.forget(secret)
        return Empty()

    def _named(self, name: str, environment: str) -> world.Secret | None:
        secrets = self._holdings.secrets.values()
        return next((s for s in secrets if (s.name, s.environment) == (name, environment)), None)

    def _checked(
        self,
        known: world.Secret | None,
        request: api_pb2.SecretGetOrCreateRequest,
        environment: str,
    ) -> world.Secret:
        name = request.deployment_name
        if known is None:
            raise GRPCError(
                Status.NOT_FOUND, f"Secret {name!r} not found in environment {environment!r}."
            )
        missing = sorted(set(request.required_keys) - known.values.keys())
        if missing:
            raise GRPCError(
                Status.NOT_FOUND, f"Secret {name!r} is missing the required keys: {missing}."
            )
        return known

    def _keep(self, secret: world.Secret) -> None:
        self._holdings.secrets[secret.secret_id] = secret
        self._holdings.keeper.save(secret)


def _metadata(secret: world.Secret) -> api_pb2.SecretMetadata:
    return api_pb2.SecretMetadata(
        name=secret.name,
        keys=sorted(secret.values),
        environment_name=secret.environment,
        creation_info=api_pb2.CreationInfo(created_at=secret.created_at, created_by="test"),
    )
