"""What befalls the real client and its containers when the test server is told to let it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import modal.exception
import psutil
import pytest

from tests.modal_server import deploying, starting

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server() -> Iterator[starting.ModalServer]:
    with starting.modal_server("--preemption-grace=5") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: starting.ModalServer) -> Iterator[modal.Client]:
    with deploying.client(server) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def _example(client: modal.Client) -> Iterator[None]:
    with deploying.example(client):
        yield


@pytest.fixture
def function(client: modal.Client) -> Any:
    return lambda name: modal.Function.from_name("example", name, client=client)


def _ends(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_killed_container_surfaces_nothing_and_its_input_runs_again(
    function: Any, server: starting.ModalServer, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    call = function("nap").spawn(1.0, str(mark))
    container = server.wait_for_container(call.object_id)
    while not mark.exists():
        time.sleep(0.01)

    server.kill(container["task_id"])

    assert call.get(timeout=30) != container["task_id"]
    assert len(mark.read_text().splitlines()) == 2
    (kept,) = [each for each in server.calls() if each["call_id"] == call.object_id]
    assert kept["inputs"][0]["retry_count"] == 0


def test_a_preempted_container_is_interrupted_and_its_input_runs_again(
    function: Any, server: starting.ModalServer, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    call = function("carry_on").spawn(str(mark), 30.0)
    container = server.wait_for_container(call.object_id)
    while not mark.exists():
        time.sleep(0.01)

    server.preempt(container["task_id"])

    assert call.get(timeout=30) == "interrupted"
    (end,) = [e for e in server.journal("container_end") if e["task_id"] == container["task_id"]]
    assert end["fate"] == "preempted"


def test_a_container_that_exits_again_and_again_is_a_crash_loop(function: Any) -> None:
    with pytest.raises(
        modal.exception.InternalFailure, match="with code 3, and said last: leaving with 3"
    ):
        function("die").remote(3)


def test_out_of_memory_is_told(function: Any, server: starting.ModalServer) -> None:
    call = function("nap").spawn(30)
    container = server.wait_for_container(call.object_id)

    server.out_of_memory(container["task_id"])

    with pytest.raises(modal.exception.RemoteError, match="out of memory"):
        call.get(timeout=20)


def test_an_output_expires(function: Any, server: starting.ModalServer) -> None:
    call = function("double").spawn(1)
    assert call.get(timeout=20) == 2

    server.expire(call.object_id)

    with pytest.raises(modal.exception.OutputExpiredError):
        call.get(timeout=0)


def test_an_rpc_fails_as_often_as_told(function: Any, server: starting.ModalServer) -> None:
    server.fault("FunctionMap", status="RESOURCE_EXHAUSTED", message="too many inputs")

    with pytest.raises(modal.exception.ResourceExhaustedError, match="too many inputs"):
        function("double").remote(1)
    assert function("double").remote(1) == 2


def test_an_rpc_is_delayed(function: Any, server: starting.ModalServer) -> None:
    double = function("double")
    double.remote(1)
    server.fault("FunctionGetOutputs", delay=0.5)

    begun = time.monotonic()
    double.remote(1)

    assert time.monotonic() - begun >= 0.5


def test_a_server_that_was_away_answers_again_and_the_call_went_on(
    function: Any, server: starting.ModalServer, client: modal.Client
) -> None:
    call = function("nap").spawn(0.5)
    server.wait_for_container(call.object_id)

    server.go_away(1.5)
    with pytest.raises(modal.exception.ConnectionError):
        call.get(timeout=30)

    assert _get_again(call.object_id).startswith("ta-")


def test_calls_in_flight_outlive_a_server_that_is_killed_and_started_again(
    function: Any, server: starting.ModalServer, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    call, waiting = function("nap").spawn(2.0, str(mark)), function("overrun").spawn()
    container = server.wait_for_container(call.object_id)
    while not mark.exists():
        time.sleep(0.01)

    server.restart()

    assert _get_again(call.object_id) == container["task_id"]
    assert len(mark.read_text().splitlines()) == 1
    with pytest.raises(modal.exception.FunctionTimeoutError):
        _get_again(waiting.object_id)


def test_a_call_runs_again_where_its_container_ended_with_the_server(
    function: Any, server: starting.ModalServer, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    call = function("nap").spawn(0.5, str(mark))
    while not mark.exists():
        time.sleep(0.01)

    server.stop()
    server.restart()

    _get_again(call.object_id)
    assert len(mark.read_text().splitlines()) == 2


def test_a_server_begins_anew_when_told(function: Any, server: starting.ModalServer) -> None:
    call = function("nap").spawn(1.0)
    container = server.wait_for_container(call.object_id)

    server.begin_anew()

    assert _get_again(call.object_id) == container["task_id"]
    assert call.object_id in {each["call_id"] for each in server.journal("call")}


def test_what_a_dict_holds_outlives_the_server(server: starting.ModalServer) -> None:
    with modal.Client.from_credentials("ak-test", "as-test") as client:
        table = modal.Dict.from_name("kept", create_if_missing=True, client=client)
        table.put("taken", 41)
        table.put("gone", 1)
        table.pop("gone")

    server.begin_anew()

    with modal.Client.from_credentials("ak-test", "as-test") as client:
        assert dict(modal.Dict.from_name("kept", client=client).items()) == {"taken": 41}


def test_what_is_asked_for_is_done_though_the_answer_is_lost(
    function: Any, server: starting.ModalServer
) -> None:
    nap, before = function("nap"), len(server.calls())
    nap.hydrate()
    server.fault("FunctionMap", status="DATA_LOSS", lost=True)

    with pytest.raises(modal.exception.Error):
        nap.spawn(0.0)

    assert len(server.calls()) == before + 1


def test_the_time_of_a_call_runs_out_when_told(function: Any, server: starting.ModalServer) -> None:
    call = function("nap").spawn(60.0)
    server.wait_for_container(call.object_id)

    server.run_out(call.object_id)

    with pytest.raises(modal.exception.FunctionTimeoutError):
        call.get(timeout=30)


def _get_again(call_id: str) -> Any:
    with modal.Client.from_credentials("ak-test", "as-test") as fresh:
        return modal.FunctionCall.from_id(call_id, client=fresh).get(timeout=30)


def test_what_a_container_has_started_ends_with_it(
    function: Any, server: starting.ModalServer, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    call = function("detach").spawn(str(mark))
    while not (mark.exists() and mark.read_text().strip()):
        time.sleep(0.02)
    pid = int(mark.read_text())
    assert psutil.pid_exists(pid)

    call.cancel(terminate_containers=True)

    assert _ends(pid)


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_no_container_outlives_its_server(how: str) -> None:
    with starting.modal_server("--grace=0.2") as other, deploying.client(other) as client:
        with deploying.example(client):
            call = modal.Function.from_name("example", "nap", client=client).spawn(60)
            pid = other.wait_for_container(call.object_id)["pid"]

        getattr(other, how)()

        assert _ends(pid)
