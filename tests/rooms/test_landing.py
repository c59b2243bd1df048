"""Replies of Modal's calls become files and records here, or are refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp import deliveries, documents, recording, transport
from pytest_gpuexp.backends.landing import Landing
from pytest_gpuexp.errors import BackendUnavailable, GpuexpError, NameRefused, RecordInvalid
from pytest_gpuexp.records import Attempt, Outcome
from pytest_gpuexp.storage.local import LocalStorage
from tests.rooms.attempts import a_result, an_attempt


class Service:
    """A volume that holds ``files``, and cannot be read for the first ``failures`` times."""

    def __init__(self, files: dict[str, bytes], failures: int = 0) -> None:
        self.files = files
        self.failures = failures
        self.removed: list[str] = []

    def volume(self) -> Service:
        return self

    def read_file(self, name: str) -> Iterator[bytes]:
        if self.failures:
            self.failures -= 1
            raise ConnectionResetError("gone")
        yield self.files[name]

    def remove(self, names: Iterable[str]) -> None:
        self.removed += names


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "results")


def a_reply(folder: Path, attempt: Attempt, *, inline_bytes: int = 1000, **changes: Any) -> str:
    folder.mkdir()
    (folder / "log.txt").write_text("hello")
    (folder / "model.bin").write_bytes(b"w" * 500)
    result = a_result(folder, attempt=attempt)
    parcels, _ = deliveries.pack(folder, inline_bytes=inline_bytes)
    told = {
        "version": 2,
        "outcome": transport.outcome_to_plain(Outcome(result=result)),
        "provenance": json.dumps({"host": "there"}),
        "files": deliveries.to_plain(parcels),
        "spool": "spool/s",
    }
    return json.dumps({**told, **changes})


class At:
    """Lands replies of ``service`` in ``storage``."""

    def __init__(self, service: Service, storage: LocalStorage, slept: list[float]) -> None:
        self._landing = Landing(service, storage, tidy=True, sleep=slept.append)  # type: ignore[arg-type]

    def land(self, attempt: Attempt, text: str) -> Outcome:
        return self._landing.land(attempt, self._landing.read(attempt, text))


landing = At


def test_a_reply_brings_files_and_record_home(storage: LocalStorage, tmp_path: Path) -> None:
    attempt = an_attempt()
    place = f"spool/s/{recording.run_folder(attempt)}"
    service = Service({f"{place}/model.bin": b"w" * 500})
    reply = a_reply(tmp_path / "there", attempt, inline_bytes=10)

    outcome = landing(service, storage, []).land(attempt, reply)

    folder = storage.path(recording.run_folder(attempt))
    assert (folder / "log.txt").read_text() == "hello"
    assert (folder / "model.bin").read_bytes() == b"w" * 500
    name = recording.record_name(outcome.result)
    record = documents.read_record(storage.read(name))
    assert record == dataclasses.replace(outcome.result, provenance={"host": "there"})
    assert service.removed == [place, f"spool/s/{name}"]


def test_a_file_that_cannot_be_had_now_leaves_the_run_to_the_next_session(
    storage: LocalStorage, tmp_path: Path
) -> None:
    attempt, slept = an_attempt(), list[float]()
    reply = a_reply(tmp_path / "there", attempt, inline_bytes=10)

    with pytest.raises(BackendUnavailable, match="pytest --resume"):
        landing(Service({}, failures=99), storage, slept).land(attempt, reply)

    assert slept == [0.5, 2.0, 5.0]
    assert not list(storage.list(f"{attempt.spec.experiment_id}/records"))


def test_a_file_that_comes_at_the_third_try_is_taken(storage: LocalStorage, tmp_path: Path) -> None:
    attempt = an_attempt()
    files = {f"spool/s/{recording.run_folder(attempt)}/model.bin": b"w" * 500}

    landing(Service(files, failures=2), storage, []).land(
        attempt, a_reply(tmp_path / "there", attempt, inline_bytes=10)
    )

    assert list(storage.list(f"{attempt.spec.experiment_id}/records"))


def test_a_file_is_asked_for_again_whatever_it_is_called(
    storage: LocalStorage, tmp_path: Path
) -> None:
    attempt, slept = an_attempt(), list[float]()
    reply = a_reply(tmp_path / "there", attempt, inline_bytes=10)
    reply = reply.replace("model.bin", "refused.bin")
    name = f"spool/s/{recording.run_folder(attempt)}/refused.bin"
    cut = Service({name: b"w"})

    def mend(seconds: float) -> None:
        slept.append(seconds)
        cut.files[name] = b"w" * 500

    landed = Landing(cut, storage, tidy=True, sleep=mend)  # type: ignore[arg-type]
    landed.land(attempt, landed.read(attempt, reply))

    assert slept == [0.5]
    assert list(storage.list(f"{attempt.spec.experiment_id}/records"))


def test_a_file_whose_name_leads_out_is_refused_at_once(
    storage: LocalStorage, tmp_path: Path
) -> None:
    attempt, slept = an_attempt(), list[float]()
    reply = a_reply(tmp_path / "there", attempt).replace("model.bin", "../../out.bin")

    with pytest.raises(NameRefused, match="which is refused"):
        landing(Service({}), storage, slept).land(attempt, reply)

    assert slept == []


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("not json", ValueError),
        ('"text"', RecordInvalid),
        ('{"version": 7}', RecordInvalid),
        ('{"version": 2}', LookupError),
        ('{"version": 2, "refused": "no bundle"}', GpuexpError),
    ],
)
def test_a_reply_that_is_not_ours_is_refused(
    storage: LocalStorage, reply: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        landing(Service({}), storage, []).land(an_attempt(), reply)

    assert not storage.folder.exists()


def test_a_reply_of_another_run_is_refused(storage: LocalStorage, tmp_path: Path) -> None:
    reply = a_reply(tmp_path / "there", an_attempt(run_id="exp_other-1"))

    with pytest.raises(RecordInvalid, match="it speaks of exp_other-1"):
        landing(Service({}), storage, []).land(an_attempt(), reply)
