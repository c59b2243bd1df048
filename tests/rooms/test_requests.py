"""How many requests it takes to know what a bucket holds."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.resume_scan import _CODE, _spec, _write
from pytest_gpuexp.knowledge import Knowledge
from pytest_gpuexp.plan import make_plan
from pytest_gpuexp.record_index import RecordIndex
from pytest_gpuexp.storage.local import LocalStorage
from pytest_gpuexp.storage.tigris import TigrisStorage
from tests.pretend_s3 import Pretended, pretended
from tests.rooms.attempts import a_result
from tests.servers import BUCKET, Server

RUNS = 10_000


@pytest.fixture
def server() -> Iterator[Pretended]:
    with pretended() as server:
        yield server


def storage(server: Pretended) -> TigrisStorage:
    return TigrisStorage(BUCKET, environ=Server(endpoint=server.endpoint).environ())


def fill(server: Pretended, folder: Path, runs: int) -> None:
    _write(folder, [_spec(number) for number in range(runs)])
    for path in folder.rglob("*.yaml"):
        server.objects[path.relative_to(folder).as_posix()] = path.read_bytes()


def fill_with_index(server: Pretended, folder: Path, runs: int) -> None:
    """Hold ``runs`` records, empty ones, and an index that knows what was in them."""
    index, result = RecordIndex(LocalStorage(folder), "scan", []), a_result(folder)
    for number in range(runs):
        run_id = _spec(number).run_id
        name = f"scan/records/{run_id}.1.yaml"
        changes: dict[str, Any] = {"run_id": run_id, "status": "completed", "fingerprint": _CODE}
        index.add(name, dataclasses.replace(result, **changes))
        server.objects[name] = server.objects[f"scan/jobs/{run_id}.1.yaml"] = b""
    index.save()
    server.objects["scan/index.jsonl"] = (folder / "scan/index.jsonl").read_bytes()


def kept(server: Pretended, runs: int) -> int:
    specs = [_spec(number) for number in range(runs)]
    known = Knowledge(storage(server), durable=True, indexed=True).review(specs)
    return sum(one.kept for one in make_plan(specs, known, {("scan", "exp_scan"): _CODE}))


def test_ten_thousand_finished_runs_are_found_in_twenty_requests(
    server: Pretended, tmp_path: Path
) -> None:
    fill_with_index(server, tmp_path, RUNS)

    found = kept(server, RUNS)
    asked = Counter(server.requests)
    server.requests.clear()
    more = kept(server, RUNS + 3)

    assert found == more == RUNS
    assert asked == {"GET list": 10, "GET": 1}
    assert len(server.requests) <= 20, Counter(server.requests)


def test_only_records_that_no_index_knows_are_fetched(server: Pretended, tmp_path: Path) -> None:
    fill(server, tmp_path, 40)
    first = kept(server, 40)
    unknown = server.requests.count("GET")
    server.requests.clear()

    again = kept(server, 40)

    assert first == again == 40
    assert unknown == 41  # one of them asks for the index
    assert Counter(server.requests) == {"GET list": 1, "GET": 1}
