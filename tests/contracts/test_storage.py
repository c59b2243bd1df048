"""What every storage does, whatever lies behind it."""

from __future__ import annotations

import filecmp
import itertools
import random
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import modal
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.storage.local import LocalStorage
from pytest_gpuexp.storage.modal_volume import ModalVolumeStorage
from pytest_gpuexp.storage.tigris import TigrisStorage
from tests import strict_s3
from tests.modal_server import deploying, starting
from tests.servers import BUCKET, Server
from tests.strict_s3 import StrictServer, strict

KINDS = ("local", "moto", "seaweed", "strict", "strict-by-host", "volume")
_PREFIXES = (f"contract/{number}/größe" for number in itertools.count())
_NAMES = st.text(alphabet="abcü-_. 0", min_size=1, max_size=12).filter(lambda n: n.strip(". "))


@pytest.fixture(params=KINDS)
def make(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Storage]]:
    """Give what makes storages of one kind, each empty."""
    if request.param == "local":
        yield lambda: LocalStorage(tmp_path_factory.mktemp("local") / "s")
        return
    if request.param == "volume":
        client = request.getfixturevalue("modal_client")
        yield lambda: ModalVolumeStorage("contract", prefix=next(_PREFIXES), client=client)
        return
    if request.param.startswith("strict"):
        environ = request.getfixturevalue("strict_servers")[request.param].environ()
        request.getfixturevalue("strict_host")
    else:
        server: Server = request.getfixturevalue(request.param)
        environ = server.environ()
    yield lambda: TigrisStorage(BUCKET, prefix=next(_PREFIXES), environ=environ)


@pytest.fixture(scope="module")
def modal_client() -> Iterator[modal.Client]:
    """Give a client of the tests' Modal server."""
    with starting.modal_server() as server, deploying.client(server) as client:
        yield client


@pytest.fixture(scope="module")
def strict_servers() -> Iterator[Mapping[str, StrictServer]]:
    """Give servers that refuse whatever may be refused; one has its bucket in the host's name."""
    with strict() as by_path, strict(virtual=True) as by_host:
        yield {"strict": by_path, "strict-by-host": by_host}


@pytest.fixture
def strict_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the names of the strict server's buckets lead here, as a name server would."""
    resolve = socket.getaddrinfo

    def lead_here(host: str | None, *arguments: Any, **options: Any) -> Any:
        here = host is not None and host.endswith(strict_s3.HOST)
        return resolve("127.0.0.1" if here else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lead_here)


@pytest.fixture
def storage(make: Callable[[], Storage]) -> Storage:
    return make()


def test_what_is_written_is_read_back(storage: Storage) -> None:
    storage.write("e1/records/a.yaml", b"one")

    assert storage.read("e1/records/a.yaml") == b"one"
    assert storage.exists("e1/records/a.yaml")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=_NAMES, data=st.binary())
def test_any_bytes_under_any_name_come_back(
    make: Callable[[], Storage], name: str, data: bytes
) -> None:
    storage = make()

    storage.write(f"folder/{name}", data)

    assert storage.read(f"folder/{name}") == data
    assert list(storage.list("folder")) == [f"folder/{name}"]


def test_a_second_write_replaces_the_first(storage: Storage) -> None:
    storage.write("a", b"long before")
    storage.write("a", b"now", durable=False)

    assert storage.read("a") == b"now"


def test_of_two_writes_if_absent_the_first_stands(storage: Storage) -> None:
    first = storage.write_if_absent("a/b", b"first")
    second = storage.write_if_absent("a/b", b"second", durable=False)

    assert (first, second) == (True, False)
    assert storage.read("a/b") == b"first"


def test_of_many_writers_at_once_one_is_told_that_it_wrote(storage: Storage) -> None:
    barrier, told = threading.Barrier(8), []

    def write(number: int) -> None:
        barrier.wait()
        if storage.write_if_absent("a/b", str(number).encode() * 1000):
            told.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(told) == 1
    assert storage.read("a/b") == str(told[0]).encode() * 1000
    assert list(storage.list("a")) == ["a/b"]


def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    assert not storage.exists("a")
    with pytest.raises(FileNotFoundError):
        storage.read("a")
    with pytest.raises(FileNotFoundError):
        storage.download_file("a", Path("never"))


def test_a_folder_is_listed_without_what_lies_deeper(storage: Storage) -> None:
    for name in ("e1/records/a.yaml", "e1/records/b.yaml", "e1/jobs/a.yaml"):
        storage.write(name, b"")

    assert sorted(storage.list("e1/records")) == ["e1/records/a.yaml", "e1/records/b.yaml"]
    assert sorted(storage.list("e1/records/")) == ["e1/records/a.yaml", "e1/records/b.yaml"]
    assert list(storage.list("e2")) == []


def test_what_is_deleted_is_gone_and_twice_is_no_error(storage: Storage) -> None:
    storage.write("a/b", b"x")

    storage.delete("a/b")
    storage.delete("a/b")

    assert not storage.exists("a/b")
    assert storage.write_if_absent("a/b", b"again")


def test_files_go_up_and_come_down_whole(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "up.bin").write_bytes(bytes(range(256)) * 10_000)

    storage.upload_file(tmp_path / "up.bin", "runs/a/up.bin")
    storage.download_file("runs/a/up.bin", tmp_path / "down.bin")

    assert (tmp_path / "down.bin").read_bytes() == bytes(range(256)) * 10_000
    assert storage.read("runs/a/up.bin")[:3] == b"\0\1\2"


@pytest.mark.parametrize(
    "name",
    [
        "größe/π ≤ 3, 🙂.yaml",
        "a b/ +%20?x=1&y=2#z.yaml",
        "quoted/'\"<&>`$(touch x);.yaml",
        "trailing. /and.more..",
        "signs/~*!()[]{}|^.yaml",
    ],
)
def test_a_hostile_name_is_a_name_like_any_other(storage: Storage, name: str) -> None:
    folder = name.partition("/")[0]

    storage.write(name, b"x")

    assert storage.read(name) == b"x"
    assert storage.exists(name)
    assert not storage.write_if_absent(name, b"y")
    assert list(storage.list(folder)) == [name]
    storage.delete(name)
    assert not storage.exists(name)


@pytest.mark.parametrize("name", ["", "/a", "a/../../b", "..", "a\0b"])
def test_a_name_that_leads_out_is_refused(storage: Storage, name: str) -> None:
    with pytest.raises(StorageError, match="is not a name below"):
        storage.write(name, b"x")


def test_a_folder_of_a_folder_is_listed_by_its_name(storage: Storage) -> None:
    storage.write("e1/runs/a.1/log.txt", b"x")

    assert list(storage.list("e1")) == ["e1/runs"]
    assert list(storage.list("")) == ["e1"]


def test_more_names_than_a_page_holds_are_all_listed(storage: Storage) -> None:
    names = [f"e1/records/{number:04}.yaml" for number in range(1001)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: storage.write(name, b"", durable=False), names))

    assert sorted(storage.list("e1/records")) == names


def test_an_empty_file_stays_one(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")

    storage.upload_file(tmp_path / "empty", "a/empty")
    storage.download_file("a/empty", tmp_path / "back")

    assert storage.read("a/empty") == b""
    assert (tmp_path / "back").read_bytes() == b""


def test_a_large_file_goes_up_and_comes_down_whole(storage: Storage, tmp_path: Path) -> None:
    block = random.Random(7).randbytes(1 << 20)
    with (tmp_path / "up.bin").open("wb") as file:
        for number in range(64):
            file.write(number.to_bytes(4, "big") + block[4:])

    storage.upload_file(tmp_path / "up.bin", "runs/a/up.bin")
    storage.download_file("runs/a/up.bin", tmp_path / "down.bin")

    assert filecmp.cmp(tmp_path / "up.bin", tmp_path / "down.bin", shallow=False)


def test_many_files_at_once_go_up_each_under_its_own_name(storage: Storage, tmp_path: Path) -> None:
    for number in range(32):
        (tmp_path / f"{number}").write_text(str(number))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: storage.upload_file(tmp_path / f"{n}", f"a/{n}"), range(32)))

    assert [storage.read(f"a/{number}") for number in range(32)] == [
        str(number).encode() for number in range(32)
    ]
