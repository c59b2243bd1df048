"""The test server with whole apps and much data: runs, serves, maps, versions, blobs, stores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import modal
import modal.exception
import pytest

from tests.modal_server import deploying, starting

pytestmark = pytest.mark.timeout(120)
_SMALL = """
import modal

app = modal.App("small")

@app.function()
def answer() -> int:
    return {number}

@app.function()
def again() -> None:
    print("again")
"""


@pytest.fixture(scope="module")
def server() -> Iterator[starting.ModalServer]:
    with starting.modal_server() as running:
        yield running


@pytest.fixture(scope="module")
def client(server: starting.ModalServer) -> Iterator[modal.Client]:
    with deploying.client(server) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def example(client: modal.Client) -> Iterator[ModuleType]:
    with deploying.example(client) as deployed:
        yield deployed


@pytest.fixture
def function(client: modal.Client) -> Any:
    return lambda name: modal.Function.from_name("example", name, client=client)


def _modal(server: starting.ModalServer, folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "modal", *words],
        cwd=folder,
        env={**os.environ, **server.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _output(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


def test_a_map_gives_its_results_in_order(function: Any) -> None:
    assert list(function("double").map(range(50))) == [2 * each for each in range(50)]


def test_a_map_may_return_its_errors(function: Any, tmp_path: Path) -> None:
    marks = [str(tmp_path / "mark"), str(tmp_path / "no" / "folder")]

    found = list(function("flaky").map(marks, [0, 0], return_exceptions=True))

    assert found[0] == 1
    assert isinstance(found[1], FileNotFoundError)


def test_a_generator_gives_as_it_goes(function: Any) -> None:
    assert list(function("count").remote_gen(4)) == [0, 1, 2, 3]


def test_large_arguments_and_results_travel_as_blobs(
    function: Any, server: starting.ModalServer
) -> None:
    call = function("inflate").spawn(3_000_000, padding=b"y" * 100_000)

    assert len(call.get(timeout=30)) == 3_100_000
    sizes = [each["size"] for each in server.journal("blob")]
    assert any(100_000 < size < 101_000 for size in sizes)
    assert any(size > 3_000_000 for size in sizes)


def test_queues_and_dicts_are_shared_with_containers(function: Any, client: modal.Client) -> None:
    queue = modal.Queue.from_name("numbers", create_if_missing=True).hydrate(client)
    table = modal.Dict.from_name("table", create_if_missing=True).hydrate(client)
    queue.put(41)

    assert function("exchange").remote(queue, table) == 41

    assert queue.get(timeout=5) == 42
    assert queue.len() == 0
    assert dict(table.items()) == {"taken": 41}
    assert table.pop("taken") == 41
    assert "taken" not in table


def test_no_more_containers_run_than_a_function_may_have(
    function: Any, server: starting.ModalServer
) -> None:
    together = function("together")

    calls = [together.spawn(0.5) for _ in range(12)]
    containers = {call.get(timeout=30) for call in calls}

    assert 1 <= len(containers) <= 2


def test_an_idle_container_is_scaled_down(function: Any, server: starting.ModalServer) -> None:
    task_id = function("together").remote(0)

    deadline = time.monotonic() + 20
    while task_id in {each["task_id"] for each in server.containers()}:
        assert time.monotonic() < deadline
        time.sleep(0.1)

    (end,) = [e for e in server.journal("container_end") if e["task_id"] == task_id]
    assert (end["code"], end["fate"]) == (0, "")


def test_an_app_deployed_anew_has_a_version_and_new_containers(
    client: modal.Client, server: starting.ModalServer, tmp_path: Path
) -> None:
    path, answer = tmp_path / "small.py", modal.Function.from_name("small", "answer", client=client)

    path.write_text(_SMALL.format(number=1))
    _output(_modal(server, tmp_path, "deploy", "small.py"))
    assert answer.remote() == 1
    path.write_text(_SMALL.format(number=2))
    with deploying.deployed(path, client) as small:
        assert answer.remote() == 2
        small.app.deploy(client=client)  # nothing has changed: it stays the second version

    old = modal.Function.from_name("small", "answer", version=1, client=client)
    assert old.remote() == 1
    assert [e["version"] for e in server.journal("publish") if e["name"] == "small"] == [1, 2, 2]


def test_an_ephemeral_app_lives_as_long_as_its_block(
    example: ModuleType, client: modal.Client, server: starting.ModalServer
) -> None:
    with example.app.run(client=client):
        assert example.double.remote(4) == 8
        call = example.nap.spawn(60)
        server.wait_for_container(call.object_id)

    with pytest.raises(modal.exception.RemoteError, match="app was stopped"):
        modal.FunctionCall.from_id(call.object_id, client=client).get(timeout=10)


def test_modal_run_shows_the_logs_and_the_entrypoints_output(server: starting.ModalServer) -> None:
    folder = Path(starting.__file__).parent

    output = _output(_modal(server, folder, "run", "example_app.py", "--number", "5"))

    assert "doubling 5" in output
    assert "the double of 5 is 10" in output


def test_modal_serve_takes_up_an_edit(server: starting.ModalServer, tmp_path: Path) -> None:
    tmp_path.joinpath("small.py").write_text(_SMALL.format(number=1))
    served = _modal(server, tmp_path, "serve", "small.py")
    deadline = time.monotonic() + 80
    while not [
        e
        for e in server.journal("publish")
        if e["state"] == "ephemeral" and "again" in e["functions"]
    ]:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    # The watcher takes a moment to look; what is written before that is not seen.
    published = len(server.journal("publish"))
    while len(server.journal("publish")) == published:
        assert time.monotonic() < deadline
        tmp_path.joinpath("small.py").write_text(_SMALL.format(number=time.monotonic_ns()))
        time.sleep(1)

    served.send_signal(signal.SIGINT)
    served.communicate(timeout=30)


def test_a_module_that_cannot_be_imported_is_told(client: modal.Client, tmp_path: Path) -> None:
    source = _SMALL.replace('"small"', '"broken"')
    source += "\nif not modal.is_local():\n    import no_such_module\n"
    tmp_path.joinpath("broken.py").write_text(source.format(number=1))
    with deploying.deployed(tmp_path / "broken.py", client) as broken:
        answer = broken.answer
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):
            answer.remote()
