"""What a program may rely on of stored results: complete, partial, stale or missing ones."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from pytest_gpuexp.errors import RecordInvalid, UsageProblems
from pytest_gpuexp.ledger import Ledger
from pytest_gpuexp.moments import seconds
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.records import ExperimentResult

_HOUR = 3600.0


class ResultStatus(Enum):
    """Whether a stored result serves, TMGG's words; not the ``status`` of an attempt.

    COMPLETE: it completed, with every required metric finite, and is young enough. PARTIAL: it did
    not complete, lacks a required metric, has one that is not finite, or cannot be read. STALE: it
    would be complete but for its age. MISSING: there is no record of it.
    """

    COMPLETE = "complete"
    PARTIAL = "partial"
    STALE = "stale"
    MISSING = "missing"


def check_result_status(
    storage: Storage,
    run_id: str,
    required_metrics: Sequence[str] = (),
    max_age_hours: float | None = None,
    *,
    now: float | None = None,
) -> ResultStatus:
    """Return what the newest finished attempt of ``run_id`` comes to; ``now`` is Unix seconds."""
    configs = [{"run_id": run_id}]
    _, statuses = filter_configs_by_status(
        storage,
        configs,
        required_metrics=required_metrics,
        max_age_hours=max_age_hours,
        now=now,
    )
    return statuses[run_id]


def filter_configs_by_status(
    storage: Storage | None,
    configs: Sequence[Mapping[str, Any]],
    skip_statuses: Collection[ResultStatus] = frozenset({ResultStatus.COMPLETE}),
    required_metrics: Sequence[str] = (),
    max_age_hours: float | None = None,
    *,
    now: float | None = None,
) -> tuple[list[Mapping[str, Any]], dict[str, ResultStatus]]:
    """Return those of ``configs`` that are still to be run, and the status of each by run id.

    A config is a mapping with its ``run_id``, and where it is known its ``experiment_id``, without
    which all experiments are looked through. Without a ``storage`` all are missing.

    Raises:
        UsageProblems: configs have no ``run_id``; all of them are named.
    """
    lacking = [f"configs[{n}] has no run_id" for n, one in enumerate(configs) if not _id(one)]
    if lacking:
        raise UsageProblems("filter_configs_by_status", lacking)
    moment = time.time() if now is None else now
    shelf = None if storage is None else _Shelf(storage)
    statuses: dict[str, ResultStatus] = {}
    for config in configs:
        run_id = _id(config)
        try:
            result = shelf.find(run_id, config.get("experiment_id")) if shelf else None
        except RecordInvalid:
            statuses[run_id] = ResultStatus.PARTIAL
            continue
        statuses[run_id] = status_of(result, required_metrics, max_age_hours, now=moment)
    skipped = set(skip_statuses)
    return [one for one in configs if statuses[_id(one)] not in skipped], statuses


def status_of(
    result: ExperimentResult | None,
    required_metrics: Iterable[str],
    max_age_hours: float | None,
    *,
    now: float,
) -> ResultStatus:
    """Return what ``result`` comes to at ``now`` (Unix seconds)."""
    if result is None:
        return ResultStatus.MISSING
    values = [result.metrics.get(name, math.nan) for name in required_metrics]
    if result.status != "completed" or not all(map(math.isfinite, values)):
        return ResultStatus.PARTIAL
    age = now - seconds(result.completed_at, default=-math.inf)
    if max_age_hours is not None and age > max_age_hours * _HOUR:
        return ResultStatus.STALE
    return ResultStatus.COMPLETE


def summarize_status_map(statuses: Mapping[str, ResultStatus]) -> dict[str, int]:
    """Return how many of ``statuses`` there are of each kind, by its word; none is left out."""
    counted = Counter(statuses.values())
    return {status.value: counted[status] for status in ResultStatus}


def _id(config: Mapping[str, Any]) -> str:
    return str(config.get("run_id") or "")


class _Shelf:
    """The results of one storage; each experiment is listed once."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._ledgers: dict[str, Ledger] = {}
        self._names: list[str] | None = None

    def find(self, run_id: str, experiment_id: str | None) -> ExperimentResult | None:
        for name in [experiment_id] if experiment_id else self._experiments():
            if name not in self._ledgers:
                self._ledgers[name] = Ledger(self._storage, name, indexed=True)
            if found := self._ledgers[name].stored([run_id]):
                return found[run_id]
        return None

    def _experiments(self) -> list[str]:
        if self._names is None:
            names = self._storage.list("")
            self._names = sorted(name for name in names if not name.startswith("."))
        return self._names
