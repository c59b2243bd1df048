"""RPCs about calls: made with their inputs, waited for, cancelled."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_server import answering, environments, inputs, results, scheduling, world
from tests.modal_server import holdings as holding

_ENDED = {
    "succeeded_inputs": (results.SUCCESS,),
    "timeout_inputs": (results.TIMEOUT,),
    "cancelled_inputs": (results.TERMINATED,),
}


class Calls:
    """Outputs are kept until the client says that it has them, or a fault lets them expire."""

    def __init__(
        self, holdings: holding.Holdings, known: inputs.Inputs, scheduler: scheduling.Scheduler
    ) -> None:
        """Serve the calls of ``holdings``."""
        self._holdings = holdings
        self._inputs = known
        self._scheduler = scheduler
        self._chunks: defaultdict[str, list[api_pb2.DataChunk]] = defaultdict(list)

    async def FunctionMap(
        self, request: api_pb2.FunctionMapRequest, caller: answering.Caller
    ) -> Message:
        function = holding.found(self._holdings.functions, request.function_id, "Function")
        app = self._holdings.apps[function.app_id]
        if app.state == "stopped":
            raise GRPCError(Status.NOT_FOUND, f"App {app.app_id} of the function is stopped.")
        call = world.Call(
            call_id=world.new_id("fc"),
            function_id=function.function_id,
            app_id=function.app_id,
            invocation=request.function_call_invocation_type,
            is_map=request.function_call_type == api_pb2.FUNCTION_CALL_TYPE_MAP,
        )
        self._holdings.calls[call.call_id] = call
        self._holdings.note(
            "call", call_id=call.call_id, function_id=call.function_id, is_map=call.is_map
        )
        return api_pb2.FunctionMapResponse(
            function_call_id=call.call_id,
            function_call_jwt=environments.jwt(fc=call.call_id),
            pipelined_inputs=self._take_in(call, request.pipelined_inputs),
            max_inputs_outstanding=1000,
        )

    async def FunctionPutInputs(
        self, request: api_pb2.FunctionPutInputsRequest, caller: answering.Caller
    ) -> Message:
        call = holding.found(self._holdings.calls, request.function_call_id, "FunctionCall")
        return api_pb2.FunctionPutInputsResponse(inputs=self._take_in(call, request.inputs))

    async def FunctionFinishInputs(
        self, request: api_pb2.FunctionFinishInputsRequest, caller: answering.Caller
    ) -> Message:
        return Empty()

    async def FunctionGetOutputs(
        self, request: api_pb2.FunctionGetOutputsRequest, caller: answering.Caller
    ) -> Message:
        call = holding.found(self._holdings.calls, request.function_call_id, "FunctionCall")
        until = time.monotonic() + request.timeout
        while True:
            found = [] if call.expired else self._outputs(call, request)
            left = until - time.monotonic()
            # Of an expired call too the answer comes late: the client would ask again at once.
            if found or left <= 0:
                break
            await self._holdings.bells.wait(f"call:{call.call_id}", left)
        last = max((each.entry for each in found), default=_entry(request.last_entry_id))
        if request.clear_on_success and (found or call.is_map):
            call.expired = True
            self._holdings.keeper.save(call)
        items = [api_pb2.FunctionGetOutputsItem.FromString(each.output) for each in found]
        return api_pb2.FunctionGetOutputsResponse(
            outputs=items,
            idxs=[item.idx for item in items],
            last_entry_id=f"{last}-0",
            num_unfinished_inputs=0 if call.expired else self._unfinished(call),
        )

    async def FunctionCallFromId(
        self, request: api_pb2.FunctionCallFromIdRequest, caller: answering.Caller
    ) -> Message:
        call = holding.found(self._holdings.calls, request.function_call_id, "FunctionCall")
        return api_pb2.FunctionCallFromIdResponse(
            function_call_id=call.call_id,
            num_inputs=len(call.input_ids),
            metadata=api_pb2.FunctionCallHandleMetadata(
                app_id=call.app_id, function_id=call.function_id
            ),
        )

    async def FunctionCallCancel(
        self, request: api_pb2.FunctionCallCancelRequest, caller: answering.Caller
    ) -> Message:
        call = holding.found(self._holdings.calls, request.function_call_id, "FunctionCall")
        self._holdings.note(
            "cancel", call_id=call.call_id, terminate_containers=request.terminate_containers
        )
        self._scheduler.cancel(call, terminate=request.terminate_containers)
        return Empty()

    async def FunctionCallGetInfo(
        self, request: api_pb2.FunctionCallGetInfoRequest, caller: answering.Caller
    ) -> Message:
        call = holding.found(self._holdings.calls, request.function_call_id, "FunctionCall")
        found = [self._holdings.inputs[each] for each in call.input_ids]
        done = [each for each in found if each.status == "done"]
        counts = {name: sum(i.result in kinds for i in done) for name, kinds in _ENDED.items()}
        counts["failed_inputs"] = len(done) - sum(counts.values())
        counts["pending_inputs"] = len(found) - len(done)
        info = api_pb2.FunctionCallInfo(
            function_call_id=call.call_id, created_at=call.created_at, total_inputs=len(found)
        )
        for name, count in counts.items():
            getattr(info, name).total = count
        return api_pb2.FunctionCallGetInfoResponse(info=info)

    async def FunctionCallPutDataOut(
        self, request: api_pb2.FunctionCallPutDataRequest, caller: answering.Caller
    ) -> Message:
        self._chunks[request.function_call_id].extend(request.data_chunks)
        self._holdings.bells.ring(f"data:{request.function_call_id}")
        return Empty()

    async def FunctionCallGetDataOut(
        self, request: api_pb2.FunctionCallGetDataRequest, caller: answering.Caller
    ) -> AsyncIterator[Message]:
        call_id, last = request.function_call_id, request.last_index
        until = time.monotonic() + 50.0
        while (left := until - time.monotonic()) > 0:
            for chunk in [each for each in self._chunks[call_id] if each.index > last]:
                last = chunk.index
                yield chunk
            await self._holdings.bells.wait(f"data:{call_id}", left)

    def _take_in(
        self, call: world.Call, items: Sequence[api_pb2.FunctionPutInputsItem]
    ) -> list[api_pb2.FunctionPutInputsResponseItem]:
        made = []
        for item in items:
            each = world.Input(
                input_id=world.new_id("in"),
                call_id=call.call_id,
                function_id=call.function_id,
                idx=item.idx,
                payload=item.input.SerializeToString(),
            )
            self._holdings.inputs[each.input_id] = each
            call.input_ids.append(each.input_id)
            made.append(each)
        self._holdings.keeper.save(call)
        for each in made:
            self._inputs.enqueue(each)
        self._scheduler.pump()
        return [
            api_pb2.FunctionPutInputsResponseItem(
                idx=each.idx,
                input_id=each.input_id,
                input_jwt=environments.jwt(idx=each.idx, input_id=each.input_id),
            )
            for each in made
        ]

    def _outputs(
        self, call: world.Call, request: api_pb2.FunctionGetOutputsRequest
    ) -> list[world.Input]:
        last = _entry(request.last_entry_id)
        first = request.start_idx if request.HasField("start_idx") else 0
        final = request.end_idx if request.HasField("end_idx") else 2**31
        done = [self._holdings.inputs[each] for each in call.input_ids]
        found = [
            each
            for each in done
            if each.status == "done" and each.entry > last and first <= each.idx <= final
        ]
        return sorted(found, key=lambda each: each.entry)

    def _unfinished(self, call: world.Call) -> int:
        return sum(self._holdings.inputs[each].status != "done" for each in call.input_ids)


def _entry(entry_id: str) -> int:
    return int(entry_id.partition("-")[0] or 0)
