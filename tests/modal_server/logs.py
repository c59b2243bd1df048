"""RPCs about logs, and the logs themselves."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from modal_proto import api_pb2

from tests.modal_server import answering, world
from tests.modal_server import holdings as holding

SYSTEM = api_pb2.FILE_DESCRIPTOR_INFO
_Query = api_pb2.AppGetLogsRequest | api_pb2.AppFetchLogsRequest | api_pb2.AppCountLogsRequest


class Logs:
    """What containers have written, in the order in which the server read it."""

    def __init__(self, holdings: holding.Holdings) -> None:
        """Serve the logs of ``holdings``."""
        self._holdings = holdings
        self._last = max(holdings.logs, default=0)

    def write(
        self,
        container: world.Container,
        call_id: str,
        fd: api_pb2.FileDescriptor.ValueType,
        text: str,
    ) -> None:
        """Add what ``container`` wrote; ``call_id`` says whose input it worked on."""
        self._last += 1
        line = world.LogLine(
            number=self._last,
            app_id=container.app_id,
            function_id=container.function_id,
            call_id=call_id,
            task_id=container.task_id,
            fd=fd,
            at=time.time(),
            text=text,
        )
        self._holdings.logs[line.number] = line
        self._holdings.keeper.save(line)
        self._holdings.bells.ring(f"logs:{line.app_id}")

    def last_words(self, container: world.Container) -> str:
        """Return the last line that a container wrote."""
        lines = reversed(self._holdings.logs.values())
        return next((each.text for each in lines if each.task_id == container.task_id), "")

    async def AppGetLogs(
        self, request: api_pb2.AppGetLogsRequest, caller: answering.Caller
    ) -> AsyncIterator[Message]:
        holding.found(self._holdings.apps, request.app_id, "App")
        until = time.monotonic() + (request.timeout or 55.0)
        last = int(request.last_entry_id.partition("-")[0] or 0)
        while True:
            done = self._is_over(request.app_id)
            for line in self._after(last):
                last = line.number
                if self._matches(line, request, request.file_descriptor):
                    yield _batch([line])
            if done:
                yield api_pb2.TaskLogsBatch(app_done=True)
                return
            left = until - time.monotonic()
            if left <= 0:
                return
            await self._holdings.bells.wait(f"logs:{request.app_id}", left)

    async def AppFetchLogs(
        self, request: api_pb2.AppFetchLogsRequest, caller: answering.Caller
    ) -> Message:
        lines = list(self._between(request))[-(request.limit or 1000) :]
        return api_pb2.AppFetchLogsResponse(batches=[_batch([line]) for line in lines])

    async def AppCountLogs(
        self, request: api_pb2.AppCountLogsRequest, caller: answering.Caller
    ) -> Message:
        seconds = request.bucket_secs or 1
        buckets: dict[int, api_pb2.AppCountLogsResponse.LogBucket] = {}
        for line in self._between(request):
            start = int(line.at // seconds) * seconds
            bucket = buckets.setdefault(
                start,
                api_pb2.AppCountLogsResponse.LogBucket(bucket_start_at=Timestamp(seconds=start)),
            )
            bucket.stdout_logs += line.fd == api_pb2.FILE_DESCRIPTOR_STDOUT
            bucket.stderr_logs += line.fd == api_pb2.FILE_DESCRIPTOR_STDERR
            bucket.system_logs += line.fd == SYSTEM
        return api_pb2.AppCountLogsResponse(
            app_id=request.app_id, buckets=[bucket for _, bucket in sorted(buckets.items())]
        )

    def _after(self, number: int) -> Iterator[world.LogLine]:
        for each in range(number + 1, self._last + 1):
            if each in self._holdings.logs:
                yield self._holdings.logs[each]

    def _between(
        self, request: api_pb2.AppFetchLogsRequest | api_pb2.AppCountLogsRequest
    ) -> Iterator[world.LogLine]:
        since, until = request.since.ToNanoseconds() / 1e9, request.until.ToNanoseconds() / 1e9
        for line in self._after(0):
            within = since <= line.at and (not until or line.at < until)
            if within and self._matches(line, request, request.source):
                yield line

    def _matches(self, line: world.LogLine, query: _Query, fd: int) -> bool:
        function = self._holdings.functions.get(line.function_id)
        functions = {line.function_id, function.base_id if function else ""}
        return (
            line.app_id == query.app_id
            and (not query.function_id or query.function_id in functions)
            and query.function_call_id in ("", line.call_id)
            and query.task_id in ("", line.task_id)
            and fd in (0, line.fd)
            and query.search_text in line.text
        )

    def _is_over(self, app_id: str) -> bool:
        running = any(
            each.app_id == app_id and each.status != "gone"
            for each in self._holdings.containers.values()
        )
        return self._holdings.apps[app_id].state == "stopped" and not running


def _batch(lines: list[world.LogLine]) -> api_pb2.TaskLogsBatch:
    last = lines[-1]
    items = [
        api_pb2.TaskLogs(
            data=each.text,
            timestamp=each.at,
            timestamp_ns=int(each.at * 1e9),
            file_descriptor=each.fd,
            function_call_id=each.call_id,
        )
        for each in lines
    ]
    return api_pb2.TaskLogsBatch(
        task_id=last.task_id,
        function_id=last.function_id,
        entry_id=f"{last.number}-0",
        items=items,
    )
