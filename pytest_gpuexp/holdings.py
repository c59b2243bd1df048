"""What a storage holds: its experiments, and what has become of their runs."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_gpuexp import documents, inquiries
from pytest_gpuexp.claims import Claim
from pytest_gpuexp.errors import RecordInvalid, StorageError
from pytest_gpuexp.ledger import Ledger
from pytest_gpuexp.presence import Presence, make_owner
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.results import results_name
from pytest_gpuexp.storage.opening import open_storage

DEFAULT = "results"
_OTHERS = {"artifacts-by-sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One experiment of a storage.

    ``runs`` are its run ids, ``statuses`` how many ended in which way, by the newest finished
    attempt, or are ``running``, ``lost`` or ``unreadable``. ``results`` is what its results.yaml
    says, {} where there is none yet.
    """

    experiment_id: str
    runs: list[str]
    statuses: Mapping[str, int]
    results: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """What the thresholds came to, "" where nothing was reported yet."""
        assessment = self.results.get("assessment")
        return str(assessment.get("verdict", "")) if isinstance(assessment, dict) else ""

    @property
    def recommendation(self) -> str:
        """What is advised, "" where nothing was reported yet."""
        return str(self.results.get("recommendation") or "")


class Holdings:
    """Looks through one storage, without a session."""

    def __init__(self, storage: Storage) -> None:
        """Look at nothing yet."""
        self.storage = storage
        self.presence = Presence(storage, owner=make_owner(), lease_seconds=60.0)

    def experiment_ids(self) -> list[str]:
        """Return the experiments that the storage holds, in order."""
        names = (name for name in self.storage.list("") if not name.startswith("."))
        return sorted(name for name in names if name not in _OTHERS and self._is_one(name))

    def ledger(self, experiment_id: str) -> Ledger:
        """Return what is known of one experiment."""
        return Ledger(self.storage, experiment_id, indexed=True)

    def holding(self, experiment_id: str) -> Holding:
        """Return what one experiment has come to."""
        ledger = self.ledger(experiment_id)
        runs = sorted(ledger.run_ids())
        records, unreadable = ledger.glances(runs)
        ledger.index.save()
        statuses: Counter[str] = Counter(glance.status for glance in records.values())
        statuses["unreadable"] = len(unreadable)
        for claim in self.pending(ledger):
            if claim.run_id in records:
                statuses[records[claim.run_id].status] -= 1
            statuses["running" if self.presence.holds(claim) else "lost"] += 1
        found = {status: number for status, number in statuses.items() if number}
        return Holding(
            experiment_id=experiment_id,
            runs=runs,
            statuses=found,
            results=self.results(experiment_id),
        )

    def pending(self, ledger: Ledger) -> Iterator[Claim]:
        """Yield the newest claims of runs whose newest attempt has left no record."""
        for run_id in sorted(ledger.run_ids()):
            if not ledger.was_recorded(run_id) and (claim := ledger.newest_claim(run_id)):
                yield claim

    def results(self, experiment_id: str) -> Mapping[str, Any]:
        """Return what results.yaml says; {} where there is none, or none that can be read."""
        name = results_name(experiment_id)
        with contextlib.suppress(FileNotFoundError, RecordInvalid):
            content = documents.load(self.storage.read(name), place=name)
            if isinstance(content, dict):
                return content
        return {}

    def _is_one(self, name: str) -> bool:
        folders = {f"{name}/records", f"{name}/jobs", results_name(name)}
        return any(one in folders for one in self.storage.list(name))


def open_holdings(place: str | None, environ: Mapping[str, str]) -> Holdings:
    """Return a look at the storage ``place``; where it is None, at the one of sessions here.

    Raises:
        StorageError: there is no such storage.
        BackendUnavailable: the ini file may name it, and pytest does not start here.
    """
    url = place or _usual(environ)
    storage = named_storage(url, environ)
    if "://" not in url and not Path(url).is_dir():
        raise StorageError(
            f"there is no folder {url!r} here. Name the folder that --storage named, or the bucket "
            f"as s3://bucket/prefix; without a name {inquiries.STORAGE} counts, then "
            f"gpuexp_storage of the ini file, and then {DEFAULT!r}."
        )
    return Holdings(storage)


def named_storage(place: str | None, environ: Mapping[str, str]) -> Storage:
    """Return the storage ``place``, which may hold nothing; None means the one of sessions here.

    Raises:
        StorageError: its address makes no sense, or is that of a file.
        BackendUnavailable: the ini file may name it, and pytest does not start here.
    """
    url = place or _usual(environ)
    storage = open_storage(url, folder=Path.cwd(), environ=environ)
    if storage is None:
        raise StorageError(f"storage {url!r} is not known here. Name a folder, or s3://bucket.")
    if "://" not in url and Path(url).is_file():
        raise StorageError(f"storage {url!r} is a file, and no folder. Name a folder of results.")
    return storage


def _usual(environ: Mapping[str, str]) -> str:
    return inquiries.storage_of(Path.cwd(), environ) or DEFAULT
