"""What a session knows of its runs: its own results, over those that are stored."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pytest_gpuexp import recording
from pytest_gpuexp.claims import Intent
from pytest_gpuexp.ledger import Ledger
from pytest_gpuexp.plan import Known
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.records import UNFINISHED, ExperimentResult, RunSpec

_MANY = 200  # records that a plan looks through more quickly in an index
_SAVE_SECONDS = 30.0


class Knowledge:
    """The results of a session and the ledgers of its experiments; a record is read once.

    ``results`` are those of this session's runs, by run id; ``kept`` those of earlier sessions
    that this one reports, and ``vouched`` the ids of those that came of the code as it is now.
    ``all_published`` says whether every attempt of this session has reached the storage.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        durable: bool,
        indexed: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know nothing yet.

        ``durable`` says whether claims outlive a loss of power, ``indexed`` whether records are
        looked up in an index. An index is left where it is worth it, now and then by ``clock``.
        """
        self._indexed = indexed
        self._clock = clock
        self._saved_at = clock()
        self._new: list[ExperimentResult] = []  # of which no index knows
        self.all_published = True
        self.kept: dict[str, ExperimentResult] = {}
        self.vouched: set[str] = set()
        self.results: dict[str, ExperimentResult] = {}
        self._storage = storage
        self._durable = durable
        self._ledgers: dict[str, Ledger] = {}
        self._read: dict[str, ExperimentResult] = {}

    def take(self, result: ExperimentResult) -> None:
        """Know how an attempt of this session ended; the newest finished one speaks for its run."""
        self.all_published = self.all_published and result.published
        other = self.results.get(result.run_id, result)
        if result.status not in UNFINISHED or other.status in UNFINISHED:
            self.results[result.run_id] = result
        if result.published:
            self._new.append(result)
            # A killed session has left what a plan over very many runs needs.
            if len(self._new) >= _MANY and self._clock() - self._saved_at > _SAVE_SECONDS:
                self.save()

    def ledger(self, experiment_id: str) -> Ledger:
        """Return the ledger of an experiment; its files are listed at the first call."""
        if experiment_id not in self._ledgers:
            self._ledgers[experiment_id] = ledger = Ledger(
                self._storage, experiment_id, durable=self._durable, indexed=self._indexed
            )
            if ledger.has_index:
                # Where records were deleted, numbers begin anew: an index that holds the old ones
                # must not be there when a new one takes such a name.
                ledger.index.save()
        return self._ledgers[experiment_id]

    def keep(self, spec: RunSpec) -> ExperimentResult:
        """Return the stored result of ``spec``, which stands for the run in this session."""
        if spec.run_id not in self._read:
            self._read.update(self.ledger(spec.experiment_id).stored([spec.run_id]))
        self.kept[spec.run_id] = _as_of(spec, self._read[spec.run_id])
        return self.kept[spec.run_id]

    def adopt(self, spec: RunSpec, result: ExperimentResult, *, same_code: bool) -> None:
        """Know how a run ended that another session has made meanwhile."""
        self._read[result.run_id] = self.kept[result.run_id] = _as_of(spec, result)
        if same_code:
            self.vouched.add(result.run_id)

    def intents(self, specs: Iterable[RunSpec], *, backend: str) -> dict[str, Intent]:
        """Return the attempts of ``specs`` that ``backend`` was given and that have no record."""
        found: dict[str, Intent] = {}
        for spec in specs:
            found.update(self.ledger(spec.experiment_id).intents([spec.run_id]))
        return {run_id: intent for run_id, intent in found.items() if intent.backend == backend}

    def review(self, specs: Sequence[RunSpec]) -> Known:
        """Return what is stored of one experiment's ``specs``, unreadable or not."""
        if not specs:
            return Known()
        ledger = self.ledger(specs[0].experiment_id)
        wanted = [spec.run_id for spec in specs]
        ledger.look_for_claims(wanted)
        records, unreadable = ledger.glances(wanted)
        ledger.index.save()
        return Known(records=records, unreadable=unreadable, begun=ledger.begun(wanted))

    def save(self) -> None:
        """Let the next session find this one's records in the index."""
        counts = Counter(result.experiment_id for result in self._new)
        for experiment_id, new in counts.items():
            ledger = self.ledger(experiment_id)
            ledger.has_index = ledger.has_index or new + ledger.recorded >= _MANY
        for result in self._new:
            ledger = self._ledgers[result.experiment_id]
            if ledger.has_index:
                ledger.index.add(recording.record_name(result), result)
        self._new = [one for one in self._new if not self._ledgers[one.experiment_id].has_index]
        for ledger in self._ledgers.values():
            if ledger.has_index:
                ledger.index.save()
        self._saved_at = self._clock()

    def known(self, specs: Iterable[RunSpec]) -> dict[str, ExperimentResult]:
        """Return the newest result of each of one experiment's ``specs`` that has one.

        Which parameters are made of the seed is as ``specs`` say it, whatever the record says.

        Raises:
            RecordInvalid: a stored record cannot be read; the error names its file.
        """
        wanted = {spec.run_id: spec for spec in specs}
        settled = {key for key, one in self.results.items() if one.status not in UNFINISHED}
        absent = [one for one in wanted if one not in settled and one not in self._read]
        if absent:
            self._read.update(self.ledger(wanted[absent[0]].experiment_id).stored(absent))
        # An attempt that was broken off speaks only where no other has come to an end.
        broken = {key: one for key, one in self.results.items() if key not in settled}
        found = {**broken, **self._read, **{key: self.results[key] for key in settled}}
        return {key: _as_of(spec, found[key]) for key, spec in wanted.items() if key in found}


def _as_of(spec: RunSpec, result: ExperimentResult) -> ExperimentResult:
    """Return ``result`` as one of the variant of ``spec``: a config may have come to say more."""
    if tuple(result.seeded) == tuple(spec.seeded):
        return result
    return replace(result, seeded=spec.seeded)
