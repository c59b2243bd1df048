"""The fault port: what a test can look at, and what it can let happen, as JSON over HTTP.

========================  =======================================================================
``GET /journal``          what was asked for, oldest first
``GET /containers``       task_id, pid, status, function and inputs of each container
``GET /calls``            calls with their inputs
``POST /kill``            ``task_id``: SIGKILL the container; its inputs run again
``POST /preempt``         ``task_id``, ``grace``: SIGINT, so many seconds, SIGKILL; inputs run again
``POST /oom``             ``task_id``: SIGKILL, told as out of memory
``POST /expire``          ``call_id``: the output is no longer kept
``POST /run_out``         ``call_id``: the time limit of its function has passed
``POST /away``            ``seconds``: close the port and all connections for so long
``POST /restart``         begin anew from what is on disk, as after a crash
``POST /fault``           ``rpc``, ``count``, ``delay``, ``status``, ``message``: for the next RPCs;
                          ``lost``: what is asked for is done, and only its answer fails
``POST /scale``           ``max_containers``
========================  =======================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from grpclib import Status

from tests.modal_server import definitions, fleet, inputs, scheduling, world
from tests.modal_server import holdings as holding


class Control:
    """Answers the fault port."""

    def __init__(
        self,
        holdings: holding.Holdings,
        known: inputs.Inputs,
        scheduler: scheduling.Scheduler,
        ships: fleet.Fleet,
        away: Callable[[float], Awaitable[None]],
        restart: Callable[[], None],
    ) -> None:
        """Let befall ``holdings``; ``away`` and ``restart`` are the server's own."""
        self._holdings = holdings
        self._inputs = known
        self._scheduler = scheduler
        self._fleet = ships
        self._away = away
        self._restart = restart
        self._tasks: set[asyncio.Future[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses of the fault port."""
        return [
            web.get("/journal", self._get_journal),
            web.get("/containers", self._get_containers),
            web.get("/calls", self._get_calls),
            web.post("/kill", self._kill),
            web.post("/preempt", self._preempt),
            web.post("/oom", self._oom),
            web.post("/expire", self._expire),
            web.post("/run_out", self._run_out),
            web.post("/away", self._go_away),
            web.post("/restart", self._begin_anew),
            web.post("/fault", self._fault),
            web.post("/scale", self._scale),
        ]

    async def _get_journal(self, request: web.Request) -> web.Response:
        return web.json_response(self._holdings.journal)

    async def _get_containers(self, request: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    "task_id": each.task_id,
                    "pid": each.pid,
                    "status": each.status,
                    "function": self._holdings.functions[each.function_id].tag,
                    "function_id": each.function_id,
                    "app_id": each.app_id,
                    "fate": each.fate,
                    "input_ids": each.input_ids,
                    "call_ids": [self._holdings.inputs[i].call_id for i in each.input_ids],
                    "gpu": self._gpu(each),
                }
                for each in self._holdings.containers.values()
            ]
        )

    async def _get_calls(self, request: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    "call_id": call.call_id,
                    "function_id": call.function_id,
                    "cancelled": call.cancelled,
                    "expired": call.expired,
                    "inputs": [
                        {
                            "input_id": each.input_id,
                            "status": each.status,
                            "retry_count": each.retry_count,
                            "attempts": each.attempts,
                            "task_id": each.task_id,
                        }
                        for each in (self._holdings.inputs[i] for i in call.input_ids)
                    ],
                }
                for call in self._holdings.calls.values()
            ]
        )

    async def _kill(self, request: web.Request) -> web.Response:
        self._fleet.kill(await self._container(request), "killed")
        return web.json_response({})

    async def _preempt(self, request: web.Request) -> web.Response:
        container, asked = await self._container(request), await request.json()
        grace = float(asked.get("grace", self._holdings.settings.preemption_grace))
        container.leaving_after = True
        self._fleet.interrupt(container, "preempted", grace)
        return web.json_response({})

    async def _oom(self, request: web.Request) -> web.Response:
        self._fleet.kill(await self._container(request), "oom")
        return web.json_response({})

    async def _run_out(self, request: web.Request) -> web.Response:
        for input_id in (await self._call(request)).input_ids:
            self._inputs.run_out(self._holdings.inputs[input_id])
        return web.json_response({})

    async def _expire(self, request: web.Request) -> web.Response:
        call = await self._call(request)
        call.expired = True
        self._holdings.keeper.save(call)
        self._holdings.bells.ring(f"call:{call.call_id}")
        return web.json_response({})

    async def _go_away(self, request: web.Request) -> web.Response:
        task = asyncio.ensure_future(self._away(float((await request.json())["seconds"])))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.json_response({})

    async def _begin_anew(self, request: web.Request) -> web.Response:
        # The answer goes first: nothing is left to give it afterwards.
        asyncio.get_running_loop().call_later(0.05, self._restart)
        return web.json_response({})

    async def _fault(self, request: web.Request) -> web.Response:
        asked: dict[str, Any] = await request.json()
        status = asked.get("status", "")
        if status and status not in Status.__members__:
            raise web.HTTPBadRequest(text=f"status is one of {', '.join(Status.__members__)}")
        fault = holding.Fault(
            name=asked["rpc"],
            left=int(asked.get("count", 1)),
            delay=float(asked.get("delay", 0.0)),
            status=status,
            message=asked.get("message", ""),
            lost=bool(asked.get("lost", False)),
        )
        self._holdings.faults.append(fault)
        return web.json_response({})

    async def _scale(self, request: web.Request) -> web.Response:
        self._holdings.settings.max_containers = int((await request.json())["max_containers"])
        self._scheduler.pump()
        return web.json_response({})

    async def _call(self, request: web.Request) -> world.Call:
        call = self._holdings.calls.get((await request.json())["call_id"])
        if call is None:
            raise web.HTTPNotFound(text="no such call")
        return call

    async def _container(self, request: web.Request) -> world.Container:
        task_id = (await request.json())["task_id"]
        if task_id not in self._holdings.containers:
            raise web.HTTPNotFound(text=f"no container {task_id} runs")
        return self._holdings.containers[task_id]

    def _gpu(self, container: world.Container) -> str:
        function = self._holdings.functions[container.function_id]
        gpus = definitions.gpu_of(definitions.effective(self._holdings, function))
        return gpus[0] if gpus else ""
