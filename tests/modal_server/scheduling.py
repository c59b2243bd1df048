"""Decides which container gets which input, when containers start, and when they leave."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass

from modal_proto import api_pb2

from tests.modal_server import definitions, fleet, inputs, results, world
from tests.modal_server import holdings as holding

CRASHES = 3
"""So often a container may exit by itself on one input, or at its start, in a row."""
FAILED_STARTS = 2
"""So often a container may report that it cannot start (an import fails), in a row."""
_LONG_POLL = 30.0
_STOP_GRACE = 3.0
_SPARED = frozenset({"preempted", "killed", "timeout", "cancelled"})
"""Fates that an input survives: it runs again, and no retry is spent."""


@dataclass(slots=True)
class _Starts:
    """How the starts of a function's containers have failed in a row."""

    count: int = 0
    reported: api_pb2.GenericResult | None = None


class Scheduler:
    """A container asks for inputs; where inputs wait and none asks, containers are started."""

    def __init__(
        self, holdings: holding.Holdings, known: inputs.Inputs, ships: fleet.Fleet
    ) -> None:
        """Schedule the inputs ``known`` on the containers of the fleet ``ships``."""
        self._holdings = holdings
        self._inputs = known
        self._fleet = ships
        self._asking: dict[str, asyncio.Future[world.Input | None]] = {}
        self._starts: defaultdict[str, _Starts] = defaultdict(_Starts)
        self._stopping_when_done: set[str] = set()
        ships.on_end = self._ended
        known.on_waiting = self.pump
        known.on_timeout = self._timed_out
        known.on_done = self._check_done

    async def take(self, container: world.Container) -> list[world.Input] | None:
        """Return inputs for a container that asks, none where it is to ask again.

        Returns None where the container is to leave.
        """
        self._starts.pop(container.function_id, None)
        if container.status == "starting":
            container.status, container.idle_since = "idle", time.time()
        definition = self._definition(container.function_id)
        if container.input_ids and definitions.concurrency(definition) == 1:
            # The answer to its last request did not reach it: it asks only when it is free.
            return [self._holdings.inputs[each] for each in container.input_ids]
        if container.leaving_after:
            return None
        future: asyncio.Future[world.Input | None] = asyncio.get_running_loop().create_future()
        self._asking[container.task_id] = future
        self.pump()
        window = definitions.scaledown_window(definition)
        seconds = min(window, _LONG_POLL)
        try:
            # Shielded: what was given must not be lost with the one who asked.
            given = await asyncio.wait_for(asyncio.shield(future), seconds)
        except TimeoutError:
            return [] if self._is_kept(container, definition, window) else None
        except asyncio.CancelledError:
            if future.done() and (lost := future.result()):
                container.input_ids.remove(lost.input_id)
                self._inputs.enqueue(lost, first=True)
            raise
        finally:
            if self._asking.get(container.task_id) is future:
                del self._asking[container.task_id]
        return None if given is None else [given]

    def answered(self, container: world.Container, item: api_pb2.FunctionPutOutputsItem) -> None:
        """Take an output that a container gives."""
        self._fleet.read(container, all_=True)
        each = self._holdings.inputs.get(item.input_id)
        if item.input_id in container.input_ids:
            container.input_ids.remove(item.input_id)
        if not container.input_ids:
            container.status, container.idle_since = "idle", time.time()
        if each is None or each.status != "running" or each.task_id != container.task_id:
            return  # cancelled, or given to another since
        if item.retry_count == each.retry_count:
            self._inputs.settle(each, item.result, item.data_format)

    def failed_to_start(self, container: world.Container, result: api_pb2.GenericResult) -> None:
        """Note what a container says of why it cannot start."""
        self._starts[container.function_id].reported = result

    def cancel(self, call: world.Call, *, terminate: bool) -> None:
        """Cancel the inputs of a call; ``terminate`` kills the containers that work on them."""
        call.cancelled = True
        self._holdings.keeper.save(call)
        for input_id in call.input_ids:
            each = self._holdings.inputs[input_id]
            container = self._holdings.containers.get(each.task_id)
            if each.status == "done":
                continue
            self._inputs.finish(each, results.item(each, results.cancelled()))
            if container and input_id in container.input_ids:
                self._fleet.cancel(container, input_id, terminate=terminate)

    def replace(self, function_id: str) -> None:
        """Let containers of an older definition leave, once they have done what they do."""
        for container in self.alive(function_id=function_id):
            function = self._holdings.functions[container.function_id]
            owner = function.base_id or function.function_id
            is_listed = owner in self._holdings.apps[container.app_id].function_ids.values()
            if not is_listed or container.revision != definitions.revision(
                self._holdings, function
            ):
                container.leaving_after = True
                self._dismiss(container)

    def stop_app(self, app_id: str) -> None:
        """Cancel what an app has to do, and end its containers."""
        for each in self._inputs.unfinished(app_id):
            self._inputs.finish(each, results.item(each, results.stopped()))
        for container in self.alive(app_id=app_id):
            container.leaving_after, container.fate = True, container.fate or "stopped"
            if self._dismiss(container):
                self._fleet.kill_later(container, _STOP_GRACE)
            else:
                self._fleet.interrupt(container, "stopped", _STOP_GRACE)

    def stop_when_done(self, app_id: str) -> None:
        """Stop a detached app once nothing of it is left to do."""
        self._stopping_when_done.add(app_id)
        self._check_done(app_id)

    def alive(self, *, app_id: str = "", function_id: str = "") -> list[world.Container]:
        """Return the containers of an app, or of a function and its variants."""
        found = []
        for each in self._holdings.containers.values():
            base = self._holdings.functions[each.function_id].base_id
            if app_id in ("", each.app_id) and function_id in ("", each.function_id, base):
                found.append(each)
        return found

    def pump(self) -> None:
        """Give inputs to the containers that ask; start containers for the others."""
        for function_id in list(self._inputs.waiting):
            for container in self._of(function_id):
                future = self._asking.get(container.task_id)
                if future is None or future.done() or container.leaving_after or container.fate:
                    continue
                if each := self._inputs.next(function_id):
                    self._inputs.deliver(each, container)
                    future.set_result(each)
            if waiting := len(self._inputs.waiting[function_id]):
                self._start(function_id, waiting)
            else:
                self._inputs.waiting.pop(function_id, None)
        for app in self._holdings.apps.values():
            for function_id in app.function_ids.values() if app.state == "deployed" else ():
                self._keep_warm(function_id)

    def _start(self, function_id: str, waiting: int) -> None:
        definition = self._definition(function_id)
        mine = self._of(function_id)
        # One that is idle and does not ask is about to.
        coming = sum(each.status in ("starting", "idle") and not each.fate for each in mine)
        free = definitions.max_containers(definition) - len(mine)
        slots = definitions.concurrency(definition)
        for _ in range(min(free, -(-waiting // slots) - coming)):
            if len(self._holdings.containers) >= self._holdings.settings.max_containers:
                self._make_room(function_id)
                return
            self._launch(function_id)

    def _launch(self, function_id: str) -> None:
        function = self._holdings.functions[function_id]
        self._fleet.start(function, definitions.revision(self._holdings, function))

    def _make_room(self, function_id: str) -> None:
        """Let an idle container of another function leave."""
        for container in self.alive():
            if container.function_id != function_id and self._dismiss(container):
                container.leaving_after = True
                return

    def _dismiss(self, container: world.Container) -> bool:
        """Tell a container that asks for inputs to leave; return whether one asked."""
        future = self._asking.get(container.task_id)
        if future is None or future.done() or container.input_ids:
            return False
        future.set_result(None)
        return True

    def _keep_warm(self, function_id: str) -> None:
        wanted = self._definition(function_id).autoscaler_settings.min_containers
        if not wanted or self._starts[function_id].count:
            return
        for _ in range(wanted - len(self._of(function_id))):
            self._launch(function_id)

    def _is_kept(
        self, container: world.Container, definition: api_pb2.Function, window: float
    ) -> bool:
        idle = not container.input_ids and time.time() - container.idle_since >= window
        enough = len(self._of(container.function_id))
        return not idle or enough <= definition.autoscaler_settings.min_containers

    def _of(self, function_id: str) -> list[world.Container]:
        containers = self._holdings.containers.values()
        return [each for each in containers if each.function_id == function_id]

    def _ended(self, container: world.Container, code: int | None, was: str) -> None:
        if was == "starting" and not container.fate:
            self._failed_start(container, code)
        for input_id in container.input_ids:
            each = self._holdings.inputs[input_id]
            if each.status == "running" and each.task_id == container.task_id:
                self._lost(each, container, code)
        asking = self._asking.pop(container.task_id, None)
        if asking and not asking.done():
            asking.set_result(None)
        self.pump()

    def _lost(self, each: world.Input, container: world.Container, code: int | None) -> None:
        if container.fate == "oom":
            self._inputs.settle(each, results.out_of_memory())
        elif container.fate in _SPARED or code in (None, -9):
            self._inputs.enqueue(each, first=True)
        else:
            each.crashes += 1
            said = self._fleet.last_words(container)
            if each.crashes >= CRASHES:
                self._inputs.settle(each, results.crashed(code, each.crashes, said))
            else:
                self._inputs.enqueue(each, first=True)

    def _failed_start(self, container: world.Container, code: int | None) -> None:
        starts = self._starts[container.function_id]
        starts.count += 1
        if starts.count < (FAILED_STARTS if starts.reported else CRASHES):
            return
        said = self._fleet.last_words(container)
        result = starts.reported or results.crashed(code, starts.count, said)
        while each := self._inputs.next(container.function_id):
            self._inputs.finish(each, results.item(each, result))  # retries would not mend it
        del self._starts[container.function_id]

    def _timed_out(self, each: world.Input) -> None:
        container = self._holdings.containers.get(each.task_id)
        if container:
            self._fleet.kill(container, "timeout")

    def _check_done(self, app_id: str) -> None:
        if app_id in self._stopping_when_done and not self._inputs.unfinished(app_id):
            self._stopping_when_done.discard(app_id)
            app = self._holdings.apps[app_id]
            app.state, app.stopped_at = "stopped", time.time()
            self._holdings.keeper.save(app)
            self.stop_app(app_id)

    def _definition(self, function_id: str) -> api_pb2.Function:
        return definitions.effective(self._holdings, self._holdings.functions[function_id])
