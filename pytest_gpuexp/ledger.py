"""What is known of each run of an experiment, and the claim of a new attempt."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from pytest_gpuexp import documents
from pytest_gpuexp.errors import RecordInvalid, StorageError
from pytest_gpuexp.plan import Glance
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.record_index import RecordIndex, index_name
from pytest_gpuexp.records import UNFINISHED, Attempt, ExperimentResult, Plain, RunSpec

_ENDING = ".yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An attempt that was begun: by which backend, when (UTC), and what finds it again."""

    number: int
    backend: str
    handle: str
    submitted_at: str


class Ledger:
    """The attempts of one experiment; its state is which files exist."""

    def __init__(
        self, storage: Storage, experiment_id: str, *, durable: bool = True, indexed: bool = False
    ) -> None:
        """Look once at which attempts the storage knows.

        ``durable`` claims outlive a loss of power; those of runs that would not need not. An
        ``indexed`` ledger reads no record twice, not even in different sessions.
        """
        self._durable = durable
        self._storage = storage
        self._id = experiment_id
        self._indexed = indexed
        self.has_index = indexed or storage.exists(index_name(experiment_id))
        self._records = _attempts(storage.list(f"{experiment_id}/records"))
        self._jobs = jobs = _attempts(storage.list(f"{experiment_id}/jobs"))
        self._last = {
            run: max(*jobs.get(run, ()), *self._records.get(run, ()), 0)
            for run in {*jobs, *self._records}
        }

    @cached_property
    def index(self) -> RecordIndex:
        """The index over the records that were there when the ledger was made."""
        names = [
            f"{self._id}/records/{run_id}.{number}.yaml"
            for run_id, numbers in self._records.items()
            for number in numbers
        ]
        return RecordIndex(self._storage, self._id, names)

    def claim(
        self,
        spec: RunSpec,
        *,
        backend: str,
        handle: str,
        submitted_at: str,
        stub: bool,
        marks: Sequence[tuple[str, Sequence[Plain], Mapping[str, Plain]]] = (),
        fingerprint: Mapping[str, str] = MappingProxyType({}),
        restores: Sequence[int] = (),
        any_code: bool = False,
    ) -> Attempt:
        """Return a new attempt of ``spec``, its intent on disk under a number nobody else has.

        ``handle`` is what the backend can tell of the attempt before it has it, "" for nothing.
        """
        number = self._last.get(spec.run_id, 0)
        for _ in range(1000):
            number += 1
            attempt = Attempt(
                spec=spec,
                number=number,
                stub=stub,
                marks=marks,
                fingerprint=fingerprint,
                submitted_at=submitted_at,
                restores=restores,
                any_code=any_code,
            )
            intent = (
                f"run_id: {spec.run_id}\nattempt: {number}\nname: {json.dumps(spec.name)}\n"
                f"backend: {json.dumps(backend)}\nsubmitted_at: {json.dumps(submitted_at)}\n"
            )
            if handle:
                intent += f"handle: {json.dumps(handle)}\n"
            name = self._job(attempt)
            if self._storage.write_if_absent(name, intent.encode(), durable=self._durable):
                self._last[spec.run_id] = number
                return attempt
        raise StorageError(
            f"no attempt number is free for {spec.run_id} in {self._storage.url}. "
            "Look for another session that runs the same experiment."
        )

    def submitted(self, attempt: Attempt, handle: str) -> None:
        """Keep the handle by which a later session finds ``attempt`` again, in place of another."""
        name = self._job(attempt)
        lines = self._storage.read(name).decode().splitlines(keepends=True)
        intent = "".join(line for line in lines if not line.startswith("handle: "))
        told = f"{intent}handle: {json.dumps(handle)}\n"
        self._storage.write(name, told.encode(), durable=self._durable)

    def withdraw(self, attempt: Attempt) -> None:
        """Take back a claim whose attempt never began."""
        self._storage.delete(self._job(attempt))

    def interrupted(self, run_id: str) -> list[int]:
        """Return the attempts of a run since its last completed one, which can be gone on from.

        A record that cannot be read may be of a completed one, so none before it is given.
        """
        records = self._records.get(run_id, ())
        found: list[int] = []
        for number in sorted({*records, *self._jobs.get(run_id, ())}, reverse=True):
            if number in records:
                try:
                    glance = self.index.glance(f"{self._id}/records/{run_id}.{number}.yaml")
                except RecordInvalid:
                    break
                if glance.status == "completed":
                    break
            found.append(number)
        return found

    def begun(self, run_ids: Iterable[str]) -> set[str]:
        """Return those of ``run_ids`` that some session has claimed, and that have no record."""
        return {one for one in run_ids if one in self._last and one not in self._records}

    def handles(self, run_ids: Iterable[str]) -> dict[str, str]:
        """Return what finds the newest attempt of each of ``run_ids`` that has left no record.

        Runs without such an attempt, or whose claim tells nothing, are left out.
        """
        return {run_id: intent.handle for run_id, intent in self.intents(run_ids).items()}

    def intents(self, run_ids: Iterable[str]) -> dict[str, Intent]:
        """Return the newest attempt of each of ``run_ids`` that was begun and has left no record.

        Those whose claim cannot be read are left out, as it has nothing to be found by.
        """
        found: dict[str, Intent] = {}
        for run_id in self.begun_newest(run_ids):
            number = self._last[run_id]
            name = f"{self._id}/jobs/{run_id}.{number}.yaml"
            with contextlib.suppress(FileNotFoundError, RecordInvalid):  # withdrawn, or torn
                said = documents.load(self._storage.read(name), place=name)
                if isinstance(said, dict) and said.get("handle"):
                    found[run_id] = Intent(
                        number=number,
                        backend=str(said.get("backend", "")),
                        handle=str(said["handle"]),
                        submitted_at=str(said.get("submitted_at", "")),
                    )
        return found

    def begun_newest(self, run_ids: Iterable[str]) -> list[str]:
        """Return those of ``run_ids`` whose newest attempt has left no record."""
        return [
            one
            for one in run_ids
            if one in self._last and self._last[one] not in self._records.get(one, ())
        ]

    def glances(self, run_ids: Iterable[str]) -> tuple[dict[str, Glance], dict[str, str]]:
        """Return the newest record of each of ``run_ids``, as ``stored`` does, at a glance.

        Beside them the files of those that cannot be read, by run; whatever an older record says.
        """
        found: dict[str, Glance] = {}
        folder = f"{self._id}/records"
        unreadable: dict[str, str] = {}
        for run_id in run_ids:
            numbers = self._records.get(run_id, ())
            for number in sorted(numbers, reverse=True) if len(numbers) > 1 else numbers:
                name = f"{folder}/{run_id}.{number}.yaml"
                try:
                    glance = self.index.glance(name)
                except RecordInvalid:
                    unreadable[run_id] = name
                    break
                if glance.status not in UNFINISHED:
                    found[run_id] = glance
                    break
                found.setdefault(run_id, glance)
        return found, unreadable

    def stored(self, run_ids: Collection[str]) -> dict[str, ExperimentResult]:
        """Return the newest record of each of ``run_ids``, a finished attempt's if there is one.

        Raises:
            RecordInvalid: a record cannot be read; the error names its file.
        """
        found: dict[str, ExperimentResult] = {}
        for run_id in run_ids:
            for number in sorted(self._records.get(run_id, ()), reverse=True):
                name = f"{self._id}/records/{run_id}.{number}.yaml"
                result = self._read(name)
                if result.status not in UNFINISHED:
                    found[run_id] = result
                    break
                found.setdefault(run_id, result)
        return found

    def _read(self, name: str) -> ExperimentResult:
        if self._indexed:
            return self.index.read(name)
        return documents.read_record(self._storage.read(name), name)

    def _job(self, attempt: Attempt) -> str:
        return f"{self._id}/jobs/{attempt.key}.yaml"


def _attempts(names: Iterable[str]) -> Mapping[str, Sequence[int]]:
    """Return the attempts of each run among file names ``<run_id>.<number>.yaml``."""
    attempts: dict[str, list[int]] = {}
    for name in names:
        run_id, _, number = name[name.rfind("/") + 1 : -len(_ENDING)].rpartition(".")
        if run_id and number.isdecimal() and name.endswith(_ENDING):
            attempts.setdefault(run_id, []).append(int(number))
    return attempts
