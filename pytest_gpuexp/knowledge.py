"""What a session knows of its runs: its own results, over those that are stored."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_gpuexp.ledger import Ledger
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.records import ExperimentResult, RunSpec


class Knowledge:
    """The results of a session and the ledgers of its experiments; a record is read once.

    ``results`` are those of this session's runs, by run id.
    """

    def __init__(self, storage: Storage, *, durable: bool) -> None:
        """Know nothing yet; ``durable`` says whether claims outlive a loss of power."""
        self.results: dict[str, ExperimentResult] = {}
        self._storage = storage
        self._durable = durable
        self._ledgers: dict[str, Ledger] = {}
        self._read: dict[str, ExperimentResult] = {}

    def ledger(self, experiment_id: str) -> Ledger:
        """Return the ledger of an experiment; its files are listed at the first call."""
        if experiment_id not in self._ledgers:
            self._ledgers[experiment_id] = Ledger(
                self._storage, experiment_id, durable=self._durable
            )
        return self._ledgers[experiment_id]

    def known(self, specs: Iterable[RunSpec]) -> dict[str, ExperimentResult]:
        """Return the newest result of each of one experiment's ``specs`` that has one.

        Raises:
            RecordInvalid: a stored record cannot be read; the error names its file.
        """
        wanted = {spec.run_id: spec.experiment_id for spec in specs}
        absent = [one for one in wanted if one not in self.results and one not in self._read]
        if absent:
            self._read.update(self.ledger(wanted[absent[0]]).stored(absent))
        found = {**self._read, **self.results}
        return {run_id: found[run_id] for run_id in wanted if run_id in found}
