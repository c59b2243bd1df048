"""That the strict server is strict, and what a storage makes of its refusals."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.storage.tigris import TigrisStorage
from tests.servers import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.strict_s3 import REGION, StrictServer, strict


@pytest.fixture(scope="module")
def running() -> Iterator[StrictServer]:
    with strict(busy_every=10**9) as server:
        yield server


@pytest.fixture
def server(running: StrictServer) -> Iterator[StrictServer]:
    running.refused.clear()
    yield running
    running.clock_ahead, running.names_region = timedelta(0), True
    running.heads_name_region = True


def client(server: StrictServer, *, secret: str = SECRET_KEY, region: str = REGION) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=secret,
        region_name=region,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def changed(name: str, value: str) -> Callable[..., None]:
    def change(request: Any, **_: Any) -> None:
        if name == "body":
            request.body = value.encode()
        else:
            if name in request.headers:
                del request.headers[name]
            request.headers[name] = value

    return change


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("body", "others", "XAmzContentSHA256Mismatch"),
        ("x-amz-content-sha256", "0" * 64, "SignatureDoesNotMatch"),
        ("x-amz-meta-mine", "another", "SignatureDoesNotMatch"),
        ("x-amz-unsigned", "1", "AccessDenied"),
        ("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"),
        ("x-amz-date", "20200101T000000Z", "RequestTimeTooSkewed"),
    ],
)
def test_what_was_changed_on_its_way_is_refused(
    server: StrictServer, name: str, value: str, code: str
) -> None:
    wire = client(server)
    wire.meta.events.register("before-send.s3", changed(name, value))

    with pytest.raises(ClientError, match=code):
        wire.put_object(Bucket=BUCKET, Key="a", Body=b"sixsix", Metadata={"mine": "x"})


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ({"IfNoneMatch": "other"}, "NotImplemented"),
        ({"IfMatch": '"quoted"'}, "NotImplemented"),
        ({"IfMatch": "unquoted"}, "PreconditionFailed"),
    ],
    ids=["if-none-match", "quoted", "unquoted"],
)
def test_conditions_that_servers_may_not_know_are_refused(
    server: StrictServer, condition: dict[str, str], code: str
) -> None:
    with pytest.raises(ClientError, match=code):
        client(server).put_object(Bucket=BUCKET, Key="b", Body=b"x", **condition)


def test_a_link_is_good_for_its_time_and_its_object_alone(server: StrictServer) -> None:
    storage = TigrisStorage(BUCKET, environ=server.environ())
    storage.write("größe/a b.txt", b"here")
    link = storage.link("größe/a b.txt", seconds=60)

    with urllib.request.urlopen(link, timeout=10) as answer:
        assert answer.read() == b"here"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(link.replace("a%20b", "a%20c"), timeout=10).close()
    server.clock_ahead = timedelta(seconds=61)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(link, timeout=10).close()


def test_keys_that_are_wrong_are_told_with_what_to_look_at(server: StrictServer) -> None:
    storage = TigrisStorage(BUCKET, environ=server.environ(SECRET_KEY="wrong-4711"))

    for action in (storage.check, lambda: storage.write("a", b"x"), lambda: storage.exists("a")):
        with pytest.raises(StorageError, match="does not let these keys") as caught:
            action()
        assert "4711" not in str(caught.value)


def test_a_wrong_region_is_mended_where_the_server_names_the_right_one(
    server: StrictServer,
) -> None:
    storage = TigrisStorage(BUCKET, environ=server.environ(REGION="elsewhere"))

    storage.check()
    storage.write("region/a", b"x")
    assert list(storage.list("region")) == ["region/a"]

    server.names_region = False
    other = TigrisStorage(BUCKET, environ=server.environ(REGION="nowhere"))
    for action in (lambda: other.exists("a"), other.check, lambda: other.write("a", b"x")):
        with pytest.raises(StorageError, match="in another region than 'nowhere'"):
            action()


@pytest.mark.parametrize("told", [True, False], ids=["header", "no header"])
def test_a_wrong_region_is_mended_where_an_answer_without_a_body_is_the_first(
    server: StrictServer, *, told: bool
) -> None:
    server.heads_name_region = told
    storage = TigrisStorage(BUCKET, environ=server.environ(REGION=f"abroad-{told}"))

    assert not storage.exists(f"abroad-{told}/a")
    storage.write(f"abroad-{told}/a", b"x")
    assert storage.exists(f"abroad-{told}/a")


def test_a_region_that_was_learnt_is_known_to_all_that_asks_the_server(
    server: StrictServer,
) -> None:
    storage = TigrisStorage(BUCKET, environ=server.environ(REGION="astray"))

    storage.check()
    storage.write("astray/a", b"x")
    assert storage.exists("astray/a")

    assert server.refused == ["AuthorizationHeaderMalformed"]


def test_a_clock_that_is_wrong_is_told(server: StrictServer) -> None:
    storage = TigrisStorage(BUCKET, environ=server.environ())
    server.clock_ahead = timedelta(minutes=16)

    for action in (storage.check, lambda: storage.write("a", b"x")):
        with pytest.raises(StorageError, match="the clock of this machine"):
            action()


def test_a_write_that_meets_another_is_tried_again() -> None:
    with strict(conflicts_every=2) as server:
        storage = TigrisStorage(BUCKET, environ=server.environ())

        told = [storage.write_if_absent(f"{number}", b"x") for number in range(4)]

    assert told == [True] * 4
    assert server.refused.count("ConditionalRequestConflict") >= 3


def test_a_key_that_is_too_long_is_told_and_not_tried_again(server: StrictServer) -> None:
    storage = TigrisStorage(BUCKET, environ=server.environ())

    with pytest.raises(StorageError, match="KeyTooLongError"):
        storage.write("long" * 300, b"x")

    assert server.refused == ["KeyTooLongError"]
