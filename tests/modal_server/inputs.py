"""The inputs of calls: they wait, are tried, tried again, and get their output."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable

from modal_proto import api_pb2

from tests.modal_server import definitions, results, world
from tests.modal_server import holdings as holding


class Inputs:
    """Inputs wait by function, in the order in which they came."""

    def __init__(self, holdings: holding.Holdings) -> None:
        """Take up the inputs of ``holdings``; ``on_waiting`` is called where one waits anew."""
        self._holdings = holdings
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._done: Counter[str] = Counter()
        self.waiting: defaultdict[str, deque[str]] = defaultdict(deque)
        self.on_waiting: Callable[[], None] = lambda: None
        self.on_timeout: Callable[[world.Input], None] = lambda each: None
        self.on_done: Callable[[str], None] = lambda app_id: None

    def enqueue(self, each: world.Input, *, first: bool = False) -> None:
        """Let an input wait for a container; ``first`` before the others of its function."""
        if self._holdings.apps[self.app_of(each)].state == "stopped":
            self.finish(each, results.item(each, results.stopped()))
            return
        each.status, each.task_id = "pending", ""
        self._holdings.keeper.save(each)
        waiting = self.waiting[each.function_id]
        if first:
            waiting.appendleft(each.input_id)
        else:
            waiting.append(each.input_id)

    def next(self, function_id: str) -> world.Input | None:
        """Take the input that waits longest, if any does."""
        waiting = self.waiting[function_id]
        return self._holdings.inputs[waiting.popleft()] if waiting else None

    def deliver(self, each: world.Input, container: world.Container) -> None:
        """Note that a container works on an input from now on; its time runs."""
        each.status, each.task_id, each.started_at = "running", container.task_id, time.time()
        each.attempts += 1
        container.status = "busy"
        container.input_ids.append(each.input_id)
        self._holdings.keeper.save(each)
        self._arm(each)

    def settle(
        self,
        each: world.Input,
        result: api_pb2.GenericResult,
        data_format: api_pb2.DataFormat.ValueType = api_pb2.DATA_FORMAT_UNSPECIFIED,
    ) -> None:
        """Take the result of an attempt: it is the input's, or the input is tried again."""
        self._disarm(each)
        policy = self._definition(each).retry_policy
        may_retry = result.status not in (results.SUCCESS, results.TERMINATED, results.CRASHED)
        if may_retry and each.retry_count < policy.retries:
            delay = policy.initial_delay_ms * policy.backoff_coefficient**each.retry_count
            each.status, each.task_id = "resting", ""
            each.retry_count += 1
            self._holdings.keeper.save(each)
            self._holdings.note("retry", input_id=each.input_id, retry_count=each.retry_count)
            seconds = min(delay, policy.max_delay_ms or delay) / 1000
            asyncio.get_running_loop().call_later(seconds, self._rested, each)
            return
        item = results.item(each, result)
        item.data_format = data_format
        self.finish(each, item)

    def finish(self, each: world.Input, item: api_pb2.FunctionGetOutputsItem) -> None:
        """Give an input its output, for good."""
        self._disarm(each)
        if each.status == "pending" and each.input_id in self.waiting[each.function_id]:
            self.waiting[each.function_id].remove(each.input_id)
        self._done[each.call_id] += 1
        each.entry = self._done[each.call_id]
        each.status, each.result = "done", item.result.status
        each.output, each.payload = item.SerializeToString(), b""
        self._holdings.keeper.save(each)
        self._holdings.bells.ring(f"call:{each.call_id}")
        self.on_done(self.app_of(each))

    def unfinished(self, app_id: str) -> list[world.Input]:
        """Return the inputs of an app that have no output."""
        inputs = self._holdings.inputs.values()
        return [each for each in inputs if each.status != "done" and self.app_of(each) == app_id]

    def app_of(self, each: world.Input) -> str:
        """Return the app that an input belongs to."""
        return self._holdings.calls[each.call_id].app_id

    def resume(self) -> None:
        """Take up, in a server that follows another, what that one had in hand."""
        for each in self._holdings.inputs.values():
            self._done[each.call_id] += each.status == "done"
            if each.status in ("pending", "resting"):
                self.enqueue(each)
            elif each.status == "running":
                self._arm(each)

    def _rested(self, each: world.Input) -> None:
        if each.status == "resting":
            self.enqueue(each)
            self.on_waiting()

    def _arm(self, each: world.Input) -> None:
        seconds = self._definition(each).timeout_secs or 300
        left = max(each.started_at + seconds - time.time(), 0.0)
        loop = asyncio.get_running_loop()
        self._timers[each.input_id] = loop.call_later(left, self._timed_out, each, seconds)

    def _disarm(self, each: world.Input) -> None:
        timer = self._timers.pop(each.input_id, None)
        if timer:
            timer.cancel()

    def run_out(self, each: world.Input) -> None:
        """Let the time of an input that runs be over now."""
        self._disarm(each)
        self._timed_out(each, self._definition(each).timeout_secs or 300)

    def _timed_out(self, each: world.Input, seconds: float) -> None:
        if each.status != "running":
            return
        self._holdings.note("timeout", input_id=each.input_id, task_id=each.task_id)
        self.on_timeout(each)
        self.settle(each, results.timed_out(each, seconds))

    def _definition(self, each: world.Input) -> api_pb2.Function:
        return definitions.effective(self._holdings, self._holdings.functions[each.function_id])
