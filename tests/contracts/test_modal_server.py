"""The test server answers the real client as the service does: deploying, calling, waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import modal
import modal.exception
import psutil
import pytest

from tests.modal_server import deploying, starting

pytestmark = pytest.mark.timeout(120)


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
    """Give deployed functions by name."""
    return lambda name: modal.Function.from_name("example", name, client=client)


def test_a_deployed_function_runs_in_a_container_that_the_next_call_finds_warm(
    function: Any,
) -> None:
    nap = function("nap")

    first, second = nap.remote(0), nap.remote(0)

    assert first.startswith("ta-")
    assert first == second


def test_what_was_asked_for_stands_in_the_journal(server: starting.ModalServer) -> None:
    asked = {each["name"]: each for each in server.journal("function")}

    assert asked["double"]["gpu"] == "A10"
    assert asked["double"]["region"] == ["us-east"]
    assert asked["double"]["retries"] == 2
    assert asked["overrun"]["timeout"] == 1
    assert asked["environment"]["secrets"][0] == "example-secret"
    assert asked["write"]["volumes"] == {"/results": "example-results"}
    assert asked["together"]["max_containers"] == 2
    assert any("uv pip install" in each for each in asked["double"]["image"]["commands"])
    assert asked["double"]["image"]["env"] == {"TIER": "fast one", "EMPTY": ""}
    assert "s3cret" not in str(server.journal())


def test_a_call_is_found_again_by_its_id(function: Any, client: modal.Client) -> None:
    call = function("double").spawn(21)

    found = modal.FunctionCall.from_id(call.object_id, client=client)

    assert found.get(timeout=20) == 42
    assert found.get(timeout=0) == 42


def test_waiting_ends_with_the_time_given(function: Any) -> None:
    call = function("nap").spawn(30)

    with pytest.raises(TimeoutError):
        call.get(timeout=0.2)

    call.cancel(terminate_containers=True)


@pytest.mark.parametrize("terminate", [False, True])
def test_a_cancelled_call_ends_at_once(
    function: Any, server: starting.ModalServer, terminate: bool
) -> None:
    call = function("nap").spawn(30)
    container = server.wait_for_container(call.object_id)

    call.cancel(terminate_containers=terminate)

    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=10)
    if terminate:
        deadline = time.monotonic() + 5
        while psutil.pid_exists(container["pid"]) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert container["task_id"] not in {each["task_id"] for each in server.containers()}


def test_a_call_that_was_cancelled_leaves_its_container_to_the_next(function: Any) -> None:
    nap = function("nap")
    task_id = nap.remote(0)
    call = nap.spawn(30)
    with pytest.raises(TimeoutError):
        call.get(timeout=0.2)

    call.cancel()

    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=10)
    assert nap.remote(0) == task_id


def test_what_takes_too_long_times_out(function: Any) -> None:
    with pytest.raises(modal.exception.FunctionTimeoutError):
        function("overrun").remote()


def test_options_make_a_variant_that_runs(function: Any, server: starting.ModalServer) -> None:
    fast = function("double").with_options(gpu="H100:2", timeout=77, max_containers=1)

    assert fast.remote(4) == 8

    (variant,) = [each for each in server.journal("variant") if each["timeout"] == 77]
    assert (variant["gpu"], variant["max_containers"]) == ("H100:2", 1)


def test_a_variant_keeps_what_its_options_do_not_name(
    function: Any, server: starting.ModalServer
) -> None:
    function("double").with_options(timeout=78).hydrate()

    (variant,) = [each for each in server.journal("variant") if each["timeout"] == 78]
    assert (variant["gpu"], variant["retries"], variant["region"]) == ("A10", 2, ["us-east"])


def test_secrets_and_image_variables_are_in_the_environment_and_the_users_are_not(
    function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = function("environment").remote()

    assert environ["EXAMPLE_KEY"] == "s3cret"
    assert environ["PLAIN"] == "value"
    assert environ["TIER"] == "fast one"
    assert environ["HOME"] == "/root"
    assert "MODAL_TOKEN_SECRET" not in environ
    assert "PYTEST_CURRENT_TEST" not in environ


def test_a_secret_that_is_missing_or_lacks_a_key_is_not_found(client: modal.Client) -> None:
    with pytest.raises(modal.exception.NotFoundError, match="'no-such-secret' not found"):
        modal.Secret.from_name("no-such-secret", client=client).hydrate()
    wanted = ["EXAMPLE_KEY", "OTHER"]
    secret = modal.Secret.from_name("example-secret", required_keys=wanted, client=client)
    with pytest.raises(modal.exception.NotFoundError, match="OTHER"):
        secret.hydrate()


def test_a_volume_shows_what_is_committed_and_nothing_else(function: Any) -> None:
    write, read = function("write"), function("read")
    assert read.remote("note.txt", reload=False) is None  # the reader has its copy now

    write.remote("note.txt", "uncommitted", commit=False)
    assert read.remote("note.txt", reload=True) is None

    write.remote("note.txt", "committed", commit=True)
    assert read.remote("note.txt", reload=False) is None
    assert read.remote("note.txt", reload=True) == "committed"


def test_a_client_puts_lists_gets_and_removes_files_of_a_volume(
    client: modal.Client, tmp_path: Path
) -> None:
    volume = modal.Volume.from_name("files", create_if_missing=True, client=client)
    tmp_path.joinpath("one.txt").write_text("one")

    with volume.batch_upload() as batch:
        batch.put_file(tmp_path / "one.txt", "/folder/one.txt")

    assert [each.path for each in volume.listdir("/", recursive=True)] == [
        "folder",
        "folder/one.txt",
    ]
    assert b"".join(volume.read_file("folder/one.txt")) == b"one"
    with pytest.raises(FileExistsError), volume.batch_upload() as batch:
        batch.put_file(tmp_path / "one.txt", "/folder/one.txt")
    volume.remove_file("folder/one.txt")
    with pytest.raises(FileNotFoundError):
        b"".join(volume.read_file("folder/one.txt"))


def test_logs_are_streamed_while_a_call_runs_and_told_apart(function: Any) -> None:
    one, other = function("double").spawn(101), function("double").spawn(102)

    messages = [[each.message for each in call.logs.stream(timeout=20)] for call in (one, other)]

    assert [[each for each in said if "doubling" in each] for said in messages] == [
        ["doubling 101\n"],
        ["doubling 102\n"],
    ]


def test_an_error_of_the_function_is_raised_where_it_is_waited_for(
    function: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="attempt 4 fails"):
        function("flaky").remote(str(tmp_path / "mark"), 99)


def test_a_function_that_fails_is_tried_again(function: Any, tmp_path: Path) -> None:
    assert function("flaky").remote(str(tmp_path / "mark"), 2) == 3


def test_what_is_not_deployed_is_not_found(client: modal.Client) -> None:
    with pytest.raises(modal.exception.NotFoundError, match="no-such-app"):
        modal.Function.from_name("no-such-app", "double", client=client).hydrate()
    with pytest.raises(modal.exception.NotFoundError, match="no_such_function"):
        modal.Function.from_name("example", "no_such_function", client=client).hydrate()
    with pytest.raises(modal.exception.NotFoundError):
        modal.FunctionCall.from_id("fc-unknown", client=client).get(timeout=1)


def test_a_wrong_token_is_refused(client: modal.Client) -> None:
    with modal.Client.from_credentials("ak-test", "wrong") as stranger:
        double = modal.Function.from_name("example", "double", client=stranger)
        with pytest.raises(modal.exception.AuthError):
            double.hydrate()


def test_what_the_server_does_not_know_is_named(function: Any) -> None:
    with pytest.raises(modal.exception.UnimplementedError, match="FunctionGetCallGraph"):
        function("double").spawn(1).get_call_graph()


def test_a_container_has_its_own_home_and_leaves_nothing_on_the_machine(function: Any) -> None:
    listed = function("look").remote("/root")

    assert "/root/example_app.py" in listed
    assert not Path("/root/example_app.py").exists()
    assert not Path("/results").exists()
