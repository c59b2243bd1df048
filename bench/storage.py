"""How fast objects go into a bucket and come back: `python -m bench.storage`, or `--only storage`.

Against one real SeaweedFS on this machine: many small objects at 16 at a time, and a large one, by
this plugin (sha256 sent, stored and compared), by boto3 as it comes, and by obstore, in Rust.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pytest_gpuexp.storage.tigris import TigrisStorage
from tests import servers

T = TypeVar("T")
THREADS = 16
SMALL, SMALL_BYTES, LARGE_BYTES = 2000, 2000, 512 << 20
_BLOCK = 1 << 20


class Client(Protocol):
    """One way to keep objects."""

    def put(self, key: str, data: bytes) -> None: ...
    def get(self, key: str) -> bytes: ...
    def send(self, path: Path, key: str) -> None: ...
    def fetch(self, key: str, path: Path) -> None: ...


class Ours:
    def __init__(self, server: servers.Server) -> None:
        self.storage = TigrisStorage(servers.BUCKET, prefix="ours", environ=server.environ())

    def put(self, key: str, data: bytes) -> None:
        self.storage.write(key, data)

    def get(self, key: str) -> bytes:
        return self.storage.read(key)

    def send(self, path: Path, key: str) -> None:
        self.storage.upload_file(path, key)

    def fetch(self, key: str, path: Path) -> None:
        self.storage.download_file(key, path)


class Boto3:
    def __init__(self, server: servers.Server) -> None:
        import boto3

        self.client: Any = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=servers.ACCESS_KEY,
            aws_secret_access_key=servers.SECRET_KEY,
            region_name="us-east-1",
        )

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=servers.BUCKET, Key=f"boto3/{key}", Body=data)

    def get(self, key: str) -> bytes:
        answer = self.client.get_object(Bucket=servers.BUCKET, Key=f"boto3/{key}")
        data: bytes = answer["Body"].read()
        return data

    def send(self, path: Path, key: str) -> None:
        self.client.upload_file(str(path), servers.BUCKET, f"boto3/{key}")

    def fetch(self, key: str, path: Path) -> None:
        self.client.download_file(servers.BUCKET, f"boto3/{key}", str(path))


class Obstore:
    def __init__(self, server: servers.Server) -> None:
        import obstore
        from obstore.store import S3Store

        self.obstore: Any = obstore
        self.store = S3Store(
            servers.BUCKET,
            prefix="obstore",
            endpoint=server.endpoint,
            access_key_id=servers.ACCESS_KEY,
            secret_access_key=servers.SECRET_KEY,
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def put(self, key: str, data: bytes) -> None:
        self.obstore.put(self.store, key, data)

    def get(self, key: str) -> bytes:
        return bytes(self.obstore.get(self.store, key).bytes())

    def send(self, path: Path, key: str) -> None:
        self.obstore.put(self.store, key, path)

    def fetch(self, key: str, path: Path) -> None:
        with path.open("wb") as file:
            for block in self.obstore.get(self.store, key).stream(min_chunk_size=_BLOCK):
                file.write(block)


MAKERS: dict[str, Callable[[servers.Server], Client]] = {
    "ours": Ours,
    "boto3": Boto3,
    "obstore": Obstore,
}
STEPS = ("small up", "small down", "large up", "large down")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What is moved: ``small`` objects of ``small_bytes``, and one of ``large_bytes``."""

    small: int = SMALL
    small_bytes: int = SMALL_BYTES
    large_bytes: int = LARGE_BYTES


class _Watch:
    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu: list[float] = []

    def time(self, action: Callable[[], T]) -> T:
        began, busy = time.perf_counter(), time.process_time()
        result = action()
        self.seconds.append(time.perf_counter() - began)
        self.cpu.append(time.process_time() - busy)
        return result


def time_client(client: Client, size: Size, folder: Path, number: int) -> list[float]:
    """Return the seconds of each of ``STEPS``, then this process's CPU seconds of each.

    Objects go under names that no other round has.

    Raises:
        AssertionError: something came back otherwise than it was sent.
    """
    bodies = [os.urandom(size.small_bytes) for _ in range(size.small)]
    keys = [f"{number}/{one}" for one in range(size.small)]
    large, back = folder / "large", folder / "back"
    watch = _Watch()
    with ThreadPoolExecutor(THREADS) as pool:
        watch.time(lambda: list(pool.map(client.put, keys, bodies)))
        came = watch.time(lambda: list(pool.map(client.get, keys)))
    assert came == bodies, "small objects came back otherwise"
    watch.time(lambda: client.send(large, f"{number}/large"))
    watch.time(lambda: client.fetch(f"{number}/large", back))
    assert back.stat().st_size == size.large_bytes, "the large object came back otherwise"
    back.unlink()
    return [*watch.seconds, *watch.cpu]


def run(size: Size, *, rounds: int = 3) -> str:
    """Time every client that is installed, interleaved, and return the table of the best."""
    best: dict[str, list[float]] = {}
    absent: list[str] = []
    with servers.seaweed() as server, tempfile.TemporaryDirectory(prefix="bench-") as place:
        with (Path(place) / "large").open("wb") as file:
            for _ in range(size.large_bytes // _BLOCK):
                file.write(os.urandom(_BLOCK))
        clients: dict[str, Client] = {}
        for name, make in MAKERS.items():
            try:
                clients[name] = make(server)
            except ImportError:
                absent.append(name)
        for number in range(rounds):
            for name, client in list(clients.items())[:: 1 if number % 2 == 0 else -1]:
                print(f"storage {number + 1}/{rounds}: {name}", file=sys.stderr, flush=True)
                took = time_client(client, size, Path(place), number)
                best[name] = [min(pair) for pair in zip(took, best.get(name, took), strict=True)]
    return render(best, size, absent)


def render(best: dict[str, list[float]], size: Size, absent: Sequence[str] = ()) -> str:
    """Return seconds, what each client takes for one of ours, and the CPU that it takes itself.

    ``best`` holds for each client the seconds of ``STEPS``, then the CPU seconds of them.
    """
    head = (
        f"storage: {size.small} objects of {size.small_bytes} bytes at {THREADS} at a time, one of "
        f"{size.large_bytes >> 20} MiB; seconds (x ours)"
    )
    lines = [head, "client   " + "".join(f"{step:>18}" for step in STEPS)]
    for title, first in (("", 0), ("CPU of the client itself", len(STEPS))):
        lines += [title] if title else []
        for name, figures in best.items():
            pairs = list(zip(figures, best["ours"], strict=True))[first : first + len(STEPS)]
            cells = "".join(f"{took:>10.2f} ({took / ours:.2f}x)" for took, ours in pairs)
            lines.append(f"{name:<9}{cells}")
    lines += [f"{name:<9}not installed" for name in absent]
    ours = best["ours"]
    if "boto3" in best:
        small = sum(best["boto3"][:2]) / sum(ours[:2])
        lines.append(f"small ones, boto3 over ours: {small:.2f}x (target above 1)")
    fastest = [min(seconds[step] for seconds in best.values()) for step in (2, 3)]
    large = sum(ours[2:4]) / sum(fastest)
    lines.append(f"the large one, ours over the best: {large:.2f}x (target at most 1.2)")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.storage", description=__doc__)
    parser.add_argument("--small", type=int, default=SMALL, help="how many small objects")
    parser.add_argument("--large-mib", type=int, default=LARGE_BYTES >> 20, help="the large one")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    asked = parser.parse_args(arguments)
    print(run(Size(small=asked.small, large_bytes=asked.large_mib << 20), rounds=asked.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
