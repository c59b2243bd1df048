"""RPCs that containers make, and those about containers."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from modal_proto import api_pb2

from tests.modal_server import answering, fleet, scheduling
from tests.modal_server import holdings as holding

_BEAT_SECONDS = 14.0
"""So long a heartbeat waits for something to tell: between two, every 15 s, cancels lag."""


class Containers:
    """A container says hello, asks for inputs, gives outputs, and beats."""

    def __init__(
        self, holdings: holding.Holdings, scheduler: scheduling.Scheduler, ships: fleet.Fleet
    ) -> None:
        """Serve the containers of ``holdings``."""
        self._holdings = holdings
        self._scheduler = scheduler
        self._fleet = ships

    async def ContainerHello(self, request: Empty, caller: answering.Caller) -> Message:
        caller.running()
        return Empty()

    async def ContainerHeartbeat(
        self, request: api_pb2.ContainerHeartbeatRequest, caller: answering.Caller
    ) -> Message:
        container = caller.running()
        if container.task_id not in self._fleet.cancels:
            await self._holdings.bells.wait(f"beat:{container.task_id}", _BEAT_SECONDS)
        input_ids = self._fleet.cancels.pop(container.task_id, [])
        if not input_ids:
            return api_pb2.ContainerHeartbeatResponse()
        event = api_pb2.CancelInputEvent(input_ids=input_ids)
        return api_pb2.ContainerHeartbeatResponse(cancel_input_event=event)

    async def FunctionGetInputs(
        self, request: api_pb2.FunctionGetInputsRequest, caller: answering.Caller
    ) -> Message:
        given = await self._scheduler.take(caller.running())
        if given is None:
            kill = api_pb2.FunctionGetInputsItem(kill_switch=True)
            return api_pb2.FunctionGetInputsResponse(inputs=[kill])
        return api_pb2.FunctionGetInputsResponse(
            inputs=[
                api_pb2.FunctionGetInputsItem(
                    input_id=each.input_id,
                    input=api_pb2.FunctionInput.FromString(each.payload),
                    function_call_id=each.call_id,
                    function_call_invocation_type=self._holdings.calls[each.call_id].invocation,
                    retry_count=each.retry_count,
                    function_map_idx=each.idx,
                )
                for each in given
            ]
        )

    async def FunctionPutOutputs(
        self, request: api_pb2.FunctionPutOutputsRequest, caller: answering.Caller
    ) -> Message:
        for item in request.outputs:
            self._scheduler.answered(caller.running(), item)
        return Empty()

    async def FunctionGetDynamicConcurrency(
        self, request: api_pb2.FunctionGetDynamicConcurrencyRequest, caller: answering.Caller
    ) -> Message:
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=request.max_concurrency)

    async def TaskResult(
        self, request: api_pb2.TaskResultRequest, caller: answering.Caller
    ) -> Message:
        self._scheduler.failed_to_start(caller.running(), request.result)
        return Empty()

    async def ContainerStop(
        self, request: api_pb2.ContainerStopRequest, caller: answering.Caller
    ) -> Message:
        container = holding.found(self._holdings.containers, request.task_id, "Container")
        container.leaving_after = True
        if not request.graceful:
            self._fleet.interrupt(container, "preempted", self._holdings.settings.preemption_grace)
        return Empty()

    async def TaskList(self, request: api_pb2.TaskListRequest, caller: answering.Caller) -> Message:
        tasks = [
            api_pb2.TaskStats(
                task_id=each.task_id,
                app_id=each.app_id,
                app_description=self._holdings.apps[each.app_id].description,
                started_at=each.enqueued_at,
                enqueued_at=each.enqueued_at,
            )
            for each in self._scheduler.alive(app_id=request.app_id)
        ]
        return api_pb2.TaskListResponse(tasks=tasks)
