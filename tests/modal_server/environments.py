"""RPCs about environments, tokens and the workspace."""

from __future__ import annotations

import base64
import json
import time

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_server import answering, world
from tests.modal_server import holdings as holding

DEFAULT = "main"
BUILDER_VERSION = "2025.06"


def jwt(**claims: object) -> str:
    """Return a token that can be decoded, and that nobody has signed."""
    parts = [{"alg": "none", "typ": "JWT"}, claims]
    words = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*words, b"test"]).decode()


class Environments:
    """Environments are made when they are first named."""

    def __init__(self, holdings: holding.Holdings) -> None:
        """Serve the environments of ``holdings``."""
        self._holdings = holdings

    async def ClientHello(self, request: Empty, caller: answering.Caller) -> Message:
        return api_pb2.ClientHelloResponse(image_builder_version=BUILDER_VERSION)

    async def AuthTokenGet(self, request: Message, caller: answering.Caller) -> Message:
        return api_pb2.AuthTokenGetResponse(token=jwt(exp=int(time.time()) + 3600))

    async def TokenInfoGet(self, request: Message, caller: answering.Caller) -> Message:
        return api_pb2.TokenInfoGetResponse(
            token_id=self._holdings.settings.token_id, workspace_id="ac-test", workspace_name="test"
        )

    async def TokenFlowCreate(
        self, request: api_pb2.TokenFlowCreateRequest, caller: answering.Caller
    ) -> Message:
        """Begin what the user ends in a browser, who has done so when the client waits for it."""
        flow = world.new_id("tf")
        return api_pb2.TokenFlowCreateResponse(
            token_flow_id=flow, web_url=f"http://127.0.0.1/token-flow/{flow}", wait_secret="w"
        )

    async def TokenFlowWait(
        self, request: api_pb2.TokenFlowWaitRequest, caller: answering.Caller
    ) -> Message:
        settings = self._holdings.settings
        return api_pb2.TokenFlowWaitResponse(
            token_id=settings.token_id,
            token_secret=settings.token_secret,
            workspace_username="test",
        )

    async def WorkspaceNameLookup(self, request: Empty, caller: answering.Caller) -> Message:
        return api_pb2.WorkspaceNameLookupResponse(workspace_name="test", username="test")

    async def EnvironmentGetOrCreate(
        self, request: api_pb2.EnvironmentGetOrCreateRequest, caller: answering.Caller
    ) -> Message:
        name = request.deployment_name or DEFAULT
        known = self._known().get(name)
        if known is None:
            if name != DEFAULT and not request.object_creation_type:
                raise GRPCError(Status.NOT_FOUND, f"Environment {name!r} not found.")
            known = self._make(name)
        settings = api_pb2.EnvironmentSettings(image_builder_version=BUILDER_VERSION)
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id=known.object_id,
            metadata=api_pb2.EnvironmentMetadata(name=name, settings=settings),
        )

    async def EnvironmentCreate(
        self, request: api_pb2.EnvironmentCreateRequest, caller: answering.Caller
    ) -> Message:
        self._make(request.name)
        return Empty()

    async def EnvironmentList(self, request: Empty, caller: answering.Caller) -> Message:
        names = self._known() or {DEFAULT: self._make(DEFAULT)}
        return api_pb2.EnvironmentListResponse(
            items=[
                api_pb2.EnvironmentListItem(
                    name=name,
                    default=name == DEFAULT,
                    environment_id=each.object_id,
                    created_at=each.created_at,
                )
                for name, each in names.items()
            ]
        )

    def _known(self) -> dict[str, world.Named]:
        named = self._holdings.named.values()
        return {each.name: each for each in named if each.kind == "environment"}

    def _make(self, name: str) -> world.Named:
        made = world.Named(
            object_id=world.new_id("en"), kind="environment", environment=name, name=name
        )
        self._holdings.named[made.object_id] = made
        self._holdings.keeper.save(made)
        return made
