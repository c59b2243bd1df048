"""RPCs about functions, their variants and classes."""

from __future__ import annotations

import base64
import hashlib

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_server import answering, apps, definitions, scheduling, world
from tests.modal_server import holdings as holding


class Functions:
    """A function keeps its identifier when its app is deployed anew; its containers do not."""

    def __init__(
        self, holdings: holding.Holdings, known: apps.Apps, scheduler: scheduling.Scheduler
    ) -> None:
        """Serve the functions of ``holdings``."""
        self._holdings = holdings
        self._apps = known
        self._scheduler = scheduler

    async def FunctionPrecreate(
        self, request: api_pb2.FunctionPrecreateRequest, caller: answering.Caller
    ) -> Message:
        holding.found(self._holdings.apps, request.app_id, "App")
        function = self._holdings.functions.get(request.existing_function_id)
        if function is None:
            function = world.Function(
                function_id=world.new_id("fu"), app_id=request.app_id, tag=request.function_name
            )
        hinted = api_pb2.Function(
            function_name=request.function_name,
            function_type=request.function_type,
            function_schema=request.function_schema,
            supported_input_formats=request.supported_input_formats,
            supported_output_formats=request.supported_output_formats,
        )
        for name, method in request.method_definitions.items():
            hinted.method_definitions[name].CopyFrom(method)
        metadata = definitions.metadata_of(hinted, function)
        function.metadata = metadata.SerializeToString()
        self._keep(function)
        return api_pb2.FunctionPrecreateResponse(
            function_id=function.function_id, handle_metadata=metadata
        )

    async def FunctionCreate(
        self, request: api_pb2.FunctionCreateRequest, caller: answering.Caller
    ) -> Message:
        ranked = [each.function for each in request.function_data.ranked_functions]
        definition = ranked[0] if ranked else request.function
        gpus = [gpu for each in ranked or [definition] for gpu in definitions.gpu_of(each)]
        function = self._holdings.functions.get(request.existing_function_id)
        if function is None:
            function = world.Function(
                function_id=world.new_id("fu"), app_id=request.app_id, tag=definition.function_name
            )
        function.tag = definition.function_name
        function.draft = definition.SerializeToString(deterministic=True)
        metadata = definitions.metadata_of(definition, function)
        function.metadata = metadata.SerializeToString()
        self._keep(function)
        self._holdings.note(
            "function",
            function_id=function.function_id,
            app_id=request.app_id,
            **definitions.told(self._holdings, definition, gpus),
        )
        return api_pb2.FunctionCreateResponse(
            function_id=function.function_id,
            function=definition,
            handle_metadata=metadata,
            function_data=definitions.data_of(definition),
        )

    async def FunctionGet(
        self, request: api_pb2.FunctionGetRequest, caller: answering.Caller
    ) -> Message:
        app = self._apps.deployed(request.app_name, request.environment_name)
        if app is None:
            raise GRPCError(
                Status.NOT_FOUND,
                f"App {request.app_name!r} not found in environment "
                f"{request.environment_name or 'main'!r}",
            )
        function_id = app.function_ids.get(request.object_tag)
        if request.app_version:
            function_id = self._pinned(app, request.object_tag, request.app_version)
        if function_id is None:
            raise GRPCError(
                Status.NOT_FOUND, f"App {app.name!r} has no function {request.object_tag!r}"
            )
        function = self._holdings.functions[function_id]
        definition = definitions.effective(self._holdings, function)
        return api_pb2.FunctionGetResponse(
            function_id=function_id,
            handle_metadata=definitions.metadata_of(definition, function),
            function=definitions.data_of(definition),
        )

    async def FunctionGetById(
        self, request: api_pb2.FunctionGetByIdRequest, caller: answering.Caller
    ) -> Message:
        function = holding.found(self._holdings.functions, request.function_id, "Function")
        definition = definitions.effective(self._holdings, function)
        return api_pb2.FunctionGetByIdResponse(
            handle_metadata=definitions.metadata_of(definition, function),
            function=definitions.data_of(definition),
        )

    async def FunctionBindParams(
        self, request: api_pb2.FunctionBindParamsRequest, caller: answering.Caller
    ) -> Message:
        base = holding.found(self._holdings.functions, request.function_id, "Function")
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
        function = world.Function(
            function_id=f"fu-{digest[:22]}",
            app_id=base.app_id,
            tag=base.tag,
            base_id=base.function_id,
            options=request.function_options.SerializeToString(),
            params=request.serialized_params,
        )
        function = self._holdings.functions.get(function.function_id, function)
        self._keep(function)
        definition = definitions.effective(self._holdings, function)
        self._holdings.note(
            "variant",
            function_id=function.function_id,
            base_id=base.function_id,
            app_id=base.app_id,
            **definitions.told(self._holdings, definition, definitions.gpu_of(definition)),
        )
        return api_pb2.FunctionBindParamsResponse(
            bound_function_id=function.function_id,
            handle_metadata=definitions.metadata_of(definition, function),
        )

    async def FunctionUpdateSchedulingParams(
        self, request: api_pb2.FunctionUpdateSchedulingParamsRequest, caller: answering.Caller
    ) -> Message:
        function = holding.found(self._holdings.functions, request.function_id, "Function")
        function.scheduling += request.settings.SerializeToString()
        self._keep(function)
        settings = definitions.effective(self._holdings, function).autoscaler_settings
        self._holdings.note(
            "autoscaler",
            function_id=function.function_id,
            max_containers=settings.max_containers,
            min_containers=settings.min_containers,
        )
        self._scheduler.pump()
        return api_pb2.FunctionUpdateSchedulingParamsResponse(current_settings=settings)

    async def FunctionGetCurrentStats(
        self, request: api_pb2.FunctionGetCurrentStatsRequest, caller: answering.Caller
    ) -> Message:
        holding.found(self._holdings.functions, request.function_id, "Function")
        inputs = self._holdings.inputs.values()
        running = [
            each
            for each in self._holdings.containers.values()
            if each.function_id == request.function_id and each.status != "gone"
        ]
        waiting = [i for i in inputs if i.function_id == request.function_id]
        return api_pb2.FunctionStats(
            backlog=sum(each.status == "pending" for each in waiting), num_total_tasks=len(running)
        )

    async def ClassCreate(
        self, request: api_pb2.ClassCreateRequest, caller: answering.Caller
    ) -> Message:
        class_id = request.existing_class_id or world.new_id("cs")
        metadata = api_pb2.ClassHandleMetadata(methods=request.methods)
        made = world.Class(
            class_id=class_id, app_id=request.app_id, metadata=metadata.SerializeToString()
        )
        self._holdings.classes[class_id] = made
        self._holdings.keeper.save(made)
        return api_pb2.ClassCreateResponse(class_id=class_id, handle_metadata=metadata)

    async def ClassGet(self, request: api_pb2.ClassGetRequest, caller: answering.Caller) -> Message:
        app = self._apps.deployed(request.app_name, request.environment_name)
        class_id = app.class_ids.get(request.object_tag) if app else None
        if class_id is None:
            raise GRPCError(Status.NOT_FOUND, f"No class {request.object_tag!r} is deployed there")
        metadata = self._holdings.classes[class_id].metadata
        return api_pb2.ClassGetResponse(
            class_id=class_id, handle_metadata=api_pb2.ClassHandleMetadata.FromString(metadata)
        )

    def _pinned(self, app: world.App, tag: str, version: int) -> str:
        published = next((each for each in app.versions if each["version"] == version), None)
        drafts = published["functions"] if published else {}
        if not isinstance(drafts, dict) or tag not in drafts:
            raise GRPCError(
                Status.NOT_FOUND, f"App {app.name!r} has no function {tag!r} in version {version}"
            )
        base_id = app.function_ids[tag]
        function = world.Function(
            function_id=f"{base_id}v{version}",
            app_id=app.app_id,
            tag=tag,
            base_id=base_id,
            definition=base64.b64decode(drafts[tag]),
        )
        self._keep(self._holdings.functions.get(function.function_id, function))
        return function.function_id

    def _keep(self, function: world.Function) -> None:
        self._holdings.functions[function.function_id] = function
        self._holdings.keeper.save(function)
