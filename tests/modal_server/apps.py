"""RPCs about apps: made, published, kept alive, stopped."""

from __future__ import annotations

import base64
import time

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_server import answering, definitions, environments, scheduling, volumes, world
from tests.modal_server import holdings as holding

_STATES = {
    "initializing": api_pb2.APP_STATE_INITIALIZING,
    "ephemeral": api_pb2.APP_STATE_EPHEMERAL,
    "detached": api_pb2.APP_STATE_DETACHED,
    "deployed": api_pb2.APP_STATE_DEPLOYED,
    "stopped": api_pb2.APP_STATE_STOPPED,
}
_WORDS = {number: word for word, number in _STATES.items()}
HEARTBEAT_SECONDS = 60.0
"""How long an ephemeral app outlives its client's last sign of life."""


class Apps:
    """Ephemeral apps end with their client; deployed ones have a name and versions."""

    def __init__(self, holdings: holding.Holdings, scheduler: scheduling.Scheduler) -> None:
        """Serve the apps of ``holdings``."""
        self._holdings = holdings
        self._scheduler = scheduler

    async def AppCreate(
        self, request: api_pb2.AppCreateRequest, caller: answering.Caller
    ) -> Message:
        app = world.App(
            app_id=world.new_id("ap"),
            environment=request.environment_name or environments.DEFAULT,
            description=request.description,
            state=_WORDS.get(request.app_state, "initializing"),
            tags=dict(request.tags),
        )
        self._keep(app)
        self._holdings.note("app", app_id=app.app_id, description=app.description, state=app.state)
        url = f"http://127.0.0.1/apps/{app.app_id}"
        return api_pb2.AppCreateResponse(app_id=app.app_id, app_page_url=url, app_logs_url=url)

    async def AppGetOrCreate(
        self, request: api_pb2.AppGetOrCreateRequest, caller: answering.Caller
    ) -> Message:
        app = self.deployed(request.app_name, request.environment_name)
        if app is None and not request.object_creation_type:
            raise GRPCError(Status.NOT_FOUND, f"App {request.app_name!r} not found")
        if app is None:
            app = world.App(
                app_id=world.new_id("ap"),
                environment=request.environment_name or environments.DEFAULT,
                description=request.app_name,
                name=request.app_name,
                state="deployed",
            )
            self._keep(app)
        return api_pb2.AppGetOrCreateResponse(app_id=app.app_id)

    async def AppGetByDeploymentName(
        self, request: api_pb2.AppGetByDeploymentNameRequest, caller: answering.Caller
    ) -> Message:
        app = self.deployed(request.name, request.environment_name)
        return api_pb2.AppGetByDeploymentNameResponse(
            app_id=app.app_id if app else "", environment_name=request.environment_name
        )

    async def AppGetLayout(
        self, request: api_pb2.AppGetLayoutRequest, caller: answering.Caller
    ) -> Message:
        app = holding.found(self._holdings.apps, request.app_id, "App")
        return api_pb2.AppGetLayoutResponse(app_layout=layout(self._holdings, app))

    async def AppHeartbeat(
        self, request: api_pb2.AppHeartbeatRequest, caller: answering.Caller
    ) -> Message:
        app = holding.found(self._holdings.apps, request.app_id, "App")
        app.heartbeat_at = time.time()
        return Empty()

    async def AppPublish(
        self, request: api_pb2.AppPublishRequest, caller: answering.Caller
    ) -> Message:
        app = holding.found(self._holdings.apps, request.app_id, "App")
        left = set(app.function_ids.values()) - set(request.function_ids.values())
        # A served app is published again without a state.
        app.state = _WORDS.get(request.app_state, app.state)
        is_listed_anew = dict(request.function_ids) != app.function_ids
        app.function_ids = dict(request.function_ids)
        app.class_ids = dict(request.class_ids)
        app.name = request.name or app.name
        app.heartbeat_at = time.time()
        functions = [self._holdings.functions[each] for each in app.function_ids.values()]
        changed = [self._publish(each) for each in functions]
        # What is deployed as it was makes no version, which the client tells by a time of 0.
        deployed_at = 0.0
        if app.state == "deployed" and (is_listed_anew or any(changed) or not app.versions):
            deployed_at = time.time()
            app.versions.append(self._version(app, request, deployed_at))
        self._keep(app)
        for function_id in left:
            self._scheduler.replace(function_id)
        self._holdings.note(
            "publish",
            app_id=app.app_id,
            name=app.name,
            state=app.state,
            environment=app.environment,
            version=len(app.versions),
            tag=request.deployment_tag,
            functions=sorted(app.function_ids),
        )
        self._scheduler.pump()
        url = f"http://127.0.0.1/apps/{app.app_id}"
        return api_pb2.AppPublishResponse(url=url, deployed_at=deployed_at)

    async def AppClientDisconnect(
        self, request: api_pb2.AppClientDisconnectRequest, caller: answering.Caller
    ) -> Message:
        app = holding.found(self._holdings.apps, request.app_id, "App")
        self._holdings.note("disconnect", app_id=app.app_id, reason=request.reason)
        if app.state in ("initializing", "ephemeral"):
            self.stop(app)
        elif app.state == "detached":
            self._scheduler.stop_when_done(app.app_id)
        return Empty()

    async def AppStop(self, request: api_pb2.AppStopRequest, caller: answering.Caller) -> Message:
        self.stop(holding.found(self._holdings.apps, request.app_id, "App"))
        return Empty()

    async def AppList(self, request: api_pb2.AppListRequest, caller: answering.Caller) -> Message:
        environment = request.environment_name or environments.DEFAULT
        return api_pb2.AppListResponse(
            apps=[
                api_pb2.AppListResponse.AppListItem(
                    app_id=app.app_id,
                    description=app.description,
                    name=app.name,
                    state=_STATES[app.state],
                    created_at=app.created_at,
                    stopped_at=app.stopped_at,
                    n_running_tasks=len(self._scheduler.alive(app_id=app.app_id)),
                )
                for app in self._holdings.apps.values()
                if app.environment == environment
            ]
        )

    async def AppGetLifecycle(
        self, request: api_pb2.AppGetLifecycleRequest, caller: answering.Caller
    ) -> Message:
        app = holding.found(self._holdings.apps, request.app_id, "App")
        return api_pb2.AppGetLifecycleResponse(
            lifecycle=api_pb2.AppLifecycle(
                app_state=_STATES[app.state],
                created_at=app.created_at,
                stopped_at=app.stopped_at,
                version=len(app.versions),
            )
        )

    async def AppDeploymentHistory(
        self, request: api_pb2.AppDeploymentHistoryRequest, caller: answering.Caller
    ) -> Message:
        app = holding.found(self._holdings.apps, request.app_id, "App")
        histories = [
            api_pb2.AppDeploymentHistory(
                app_id=app.app_id,
                version=int(str(each["version"])),
                deployed_at=float(str(each["deployed_at"])),
                tag=str(each["tag"]),
            )
            for each in app.versions
        ]
        return api_pb2.AppDeploymentHistoryResponse(
            app_deployment_histories=histories, production_app_version=len(histories)
        )

    def deployed(self, name: str, environment: str) -> world.App | None:
        """Return the deployed app of a name."""
        wanted = (name, environment or environments.DEFAULT, "deployed")
        apps = self._holdings.apps.values()
        return next((a for a in apps if (a.name, a.environment, a.state) == wanted), None)

    def stop(self, app: world.App) -> None:
        """End an app: its containers are killed, its calls cancelled."""
        if app.state == "stopped":
            return
        app.state, app.stopped_at = "stopped", time.time()
        self._keep(app)
        self._holdings.note("stop", app_id=app.app_id)
        self._scheduler.stop_app(app.app_id)
        self._holdings.bells.ring(f"logs:{app.app_id}")

    def stop_abandoned(self) -> None:
        """End the ephemeral apps whose clients have given no sign of life."""
        for app in list(self._holdings.apps.values()):
            silent = time.time() - app.heartbeat_at > HEARTBEAT_SECONDS
            if app.state in ("ephemeral", "initializing") and silent:
                self.stop(app)

    def _publish(self, function: world.Function) -> bool:
        """Make the draft the definition; return whether that changes it."""
        changed = bool(function.draft) and function.draft != function.definition
        if changed:
            function.definition = function.draft
            function.revision += 1
        function.scheduling = b""
        self._holdings.keeper.save(function)
        self._scheduler.replace(function.function_id)
        return changed

    def _version(
        self, app: world.App, request: api_pb2.AppPublishRequest, deployed_at: float
    ) -> dict[str, object]:
        functions = {
            tag: base64.b64encode(self._holdings.functions[function_id].definition).decode()
            for tag, function_id in app.function_ids.items()
        }
        return {
            "version": len(app.versions) + 1,
            "deployed_at": deployed_at,
            "tag": request.deployment_tag,
            "functions": functions,
        }

    def _keep(self, app: world.App) -> None:
        self._holdings.apps[app.app_id] = app
        self._holdings.keeper.save(app)


def layout(holdings: holding.Holdings, app: world.App) -> api_pb2.AppLayout:
    """Return the objects of an app, with all that its functions depend on."""
    objects: dict[str, api_pb2.Object] = {}
    for function_id in app.function_ids.values():
        function = holdings.functions[function_id]
        definition = definitions.effective(holdings, function)
        objects[function_id] = api_pb2.Object(
            object_id=function_id,
            function_handle_metadata=definitions.metadata_of(definition, function),
        )
        for dependency in definition.object_dependencies:
            objects[dependency.object_id] = _described(holdings, dependency.object_id)
    for class_id in app.class_ids.values():
        metadata = api_pb2.ClassHandleMetadata.FromString(holdings.classes[class_id].metadata)
        objects[class_id] = api_pb2.Object(object_id=class_id, class_handle_metadata=metadata)
    return api_pb2.AppLayout(
        objects=list(objects.values()), function_ids=app.function_ids, class_ids=app.class_ids
    )


def _described(holdings: holding.Holdings, object_id: str) -> api_pb2.Object:
    described = api_pb2.Object(object_id=object_id)
    if object_id in holdings.volumes:
        described.volume_metadata.CopyFrom(volumes.metadata(holdings.volumes[object_id]))
    elif object_id in holdings.mounts:
        checksum = holdings.mounts[object_id].checksum
        described.mount_handle_metadata.content_checksum_sha256_hex = checksum
    return described
