"""What is known of each run of an experiment, and the claim of a new attempt."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

from pytest_gpuexp import documents
from pytest_gpuexp.claims import Claim, Intent, Owner, code_of, read_claim
from pytest_gpuexp.errors import ObjectDamaged, RecordInvalid
from pytest_gpuexp.plan import Glance
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.record_index import RecordIndex, index_name
from pytest_gpuexp.records import UNFINISHED, Attempt, ExperimentResult, Plain, RunSpec

_ENDING = ".yaml"
_FEW = 5  # runs whose claims are looked for one by one
_LOOKS, _LOOK_SECONDS = 5, 0.02  # at a claim that is not whole yet


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
        self._last = {run_id: max(numbers) for run_id, numbers in self._records.items()}
        self._listed = False
        self._asked: set[str] = set()
        self._jobs: dict[str, list[int]] = {}
        self._mine: dict[str, Claim] = {}  # whose handles are still to be told, by attempt key

    @cached_property
    def index(self) -> RecordIndex:
        """The index over the records that were there when the ledger was made."""
        names = [
            f"{self._id}/records/{run_id}.{number}.yaml"
            for run_id, numbers in self._records.items()
            for number in numbers
        ]
        return RecordIndex(self._storage, self._id, names)

    def look_for_claims(self, run_ids: Collection[str] | None = None) -> None:
        """Learn which of ``run_ids`` (None: of all) have been begun that have no record.

        Claims of runs with a record are not looked for: whoever wants one more attempt finds its
        number taken. So the claims of ten thousand finished runs are never listed.
        """
        if self._listed:
            return
        unknown = [one for one in run_ids or () if not (one in self._last or one in self._asked)]
        if run_ids is None or len(unknown) > _FEW:
            self._listed = True
            for run_id, numbers in _attempts(self._storage.list(f"{self._id}/jobs")).items():
                self._jobs[run_id] = list(numbers)
                self._last[run_id] = max(self._last.get(run_id, 0), *numbers)
            return
        for run_id in unknown:
            self._asked.add(run_id)
            number = 1
            while self._storage.exists(self._job(f"{run_id}.{number}")):
                self._last[run_id] = number
                number += 1

    def claim(
        self,
        spec: RunSpec,
        *,
        backend: str,
        handle: str,
        submitted_at: str,
        stub: bool,
        owner: Owner = Owner(),  # noqa: B008 -- it is frozen
        marks: Sequence[tuple[str, Sequence[Plain], Mapping[str, Plain]]] = (),
        fingerprint: Mapping[str, str] = MappingProxyType({}),
        restores: Sequence[int] = (),
        any_code: bool = False,
    ) -> Attempt | None:
        """Return a new attempt of ``spec``, its intent on disk under a number nobody else has.

        None says that another session took the number meanwhile: ``newest_claim`` is its claim
        then, and the next call tries the next number. ``handle`` is what the backend can tell of
        the attempt before it has it, "" for nothing.
        """
        number = self._last.get(spec.run_id, 0) + 1
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
        claim = Claim(
            run_id=spec.run_id,
            attempt=number,
            name=spec.name,
            backend=backend,
            submitted_at=submitted_at,
            session=owner.session,
            machine=owner.machine,
            process=owner.process,
            code=code_of(fingerprint),
            handle=handle,
        )
        self._last[spec.run_id] = number
        name = self._job(attempt.key)
        if self._storage.write_if_absent(name, claim.dumped(), durable=self._durable):
            if self._durable:
                self._mine[attempt.key] = claim
            return attempt
        return None

    def submitted(self, attempt: Attempt, handle: str) -> None:
        """Keep the handle by which a later session finds ``attempt`` again, in place of another."""
        name = self._job(attempt.key)
        data, claim = self._storage.read(name), self._mine.pop(attempt.key, None)
        if claim is None or claim.dumped() != data:  # another session has taken it over
            claim = read_claim(data, name)
        if claim is not None:
            told = replace(claim, handle=handle)
            self._storage.write(name, told.dumped(), durable=self._durable)

    def withdraw(self, attempt: Attempt) -> None:
        """Take back a claim whose attempt never began."""
        self._storage.delete(self._job(attempt.key))

    @property
    def recorded(self) -> int:
        """How many runs had a record when the ledger was made."""
        return len(self._records)

    def run_ids(self) -> set[str]:
        """Return the runs of which there is a claim or a record."""
        self.look_for_claims()
        return set(self._last)

    def attempts(self, run_id: str) -> list[int]:
        """Return the numbers of the attempts of ``run_id`` that have a record, oldest first."""
        return sorted(self._records.get(run_id, ()))

    def interrupted(self, run_id: str) -> list[int]:
        """Return the attempts of a run since its last completed one, which can be gone on from.

        A record that cannot be read may be of a completed one, so none before it is given.
        """
        self.look_for_claims()
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

    def was_recorded(self, run_id: str) -> bool:
        """Return whether the newest attempt had its record when the ledger was made, or is none."""
        number = self._last.get(run_id)
        return number is None or number in self._records.get(run_id, ())

    def newest_claim(self, run_id: str) -> Claim | None:
        """Return the claim of the newest attempt of ``run_id``; None where it is gone or torn."""
        number = self._last.get(run_id)
        if number is None:
            return None
        name = self._job(f"{run_id}.{number}")
        # A server may keep the half of an object whose sender was killed.
        with contextlib.suppress(FileNotFoundError, ObjectDamaged):
            for _ in range(_LOOKS):
                if (data := self._storage.read(name)).endswith(b"\n"):
                    return read_claim(data, name)
                time.sleep(_LOOK_SECONDS)  # it is made in this very moment, or was torn by a kill
        return None

    def record_of(self, claim: Claim) -> str:
        """Return the storage name of the record that ends the attempt of ``claim``."""
        return f"{self._id}/records/{claim.key}.yaml"

    def has_record(self, claim: Claim) -> bool:
        """Return whether the attempt of ``claim`` has ended by now."""
        return self._storage.exists(self.record_of(claim))

    def intents(self, run_ids: Iterable[str]) -> dict[str, Intent]:
        """Return the newest attempt of each of ``run_ids`` that was begun and has left no record.

        Those whose claim cannot be read are left out, as it has nothing to be found by.
        """
        self.look_for_claims()  # also of runs that have a record: a later attempt may be paid for
        found: dict[str, Intent] = {}
        for run_id in run_ids:
            claim = None if self.was_recorded(run_id) else self.newest_claim(run_id)
            if claim is not None and claim.handle:
                found[run_id] = Intent(
                    number=claim.attempt,
                    backend=claim.backend,
                    handle=claim.handle,
                    submitted_at=claim.submitted_at,
                    code=claim.code,
                )
        return found

    def take_over(self, run_id: str, owner: Owner) -> None:
        """Let the newest attempt of ``run_id`` be ``owner``'s, so that nobody else takes it."""
        claim = self.newest_claim(run_id)
        if claim is not None:
            mine = replace(
                claim, session=owner.session, machine=owner.machine, process=owner.process
            )
            self._storage.write(self._job(claim.key), mine.dumped(), durable=self._durable)

    def glances(self, run_ids: Collection[str]) -> tuple[dict[str, Glance], dict[str, str]]:
        """Return the newest record of each of ``run_ids``, as ``stored`` does, at a glance.

        Beside them the files of those that cannot be read, by run; whatever an older record says.
        """
        found: dict[str, Glance] = {}
        folder = f"{self._id}/records"
        unreadable: dict[str, str] = {}
        newest = ((one, max(self._records[one])) for one in run_ids if one in self._records)
        self.index.fetch(f"{folder}/{run_id}.{number}.yaml" for run_id, number in newest)
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
                result = self.read(name)
                if result.status not in UNFINISHED:
                    found[run_id] = result
                    break
                found.setdefault(run_id, result)
        return found

    def read(self, name: str) -> ExperimentResult:
        """Return what the record ``name`` says.

        Raises:
            RecordInvalid: it cannot be read; the error names its file.
        """
        if self._indexed:
            return self.index.read(name)
        return documents.read_record(self._storage.read(name), name)

    def _job(self, key: str) -> str:
        return f"{self._id}/jobs/{key}.yaml"


def _attempts(names: Iterable[str]) -> Mapping[str, Sequence[int]]:
    """Return the attempts of each run among file names ``<run_id>.<number>.yaml``."""
    attempts: dict[str, list[int]] = {}
    for name in names:
        run_id, _, number = name[name.rfind("/") + 1 : -len(_ENDING)].rpartition(".")
        if run_id and number.isdecimal() and name.endswith(_ENDING):
            attempts.setdefault(run_id, []).append(int(number))
    return attempts
