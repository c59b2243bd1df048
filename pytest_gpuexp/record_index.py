"""An index over the records of one experiment, so that those that were read once need not be."""

from __future__ import annotations

import gc
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields
from typing import Any

from pytest_gpuexp import documents
from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.records import Artifact, Assertion, ExperimentResult
from pytest_gpuexp.schema import VERSION

_KEYS = [field.name for field in fields(ExperimentResult) if field.name != "provenance"]
_DEFAULTS = [
    None if field.default is MISSING else field.default
    for field in fields(ExperimentResult)
    if field.name != "provenance"
]
# An index of other keys was written by another version, and is built anew.
_HEAD = [VERSION, *_KEYS]
_FINGERPRINT = _KEYS.index("fingerprint")


class RecordIndex:
    """A cache that may be deleted at any time: records are immutable, so it is never out of date.

    It holds all of a record but its provenance.
    """

    def __init__(self, storage: Storage, experiment_id: str, names: Collection[str]) -> None:
        """Read the index; of what it holds, the records ``names`` are left, which are there now."""
        self._storage = storage
        self._name = index_name(experiment_id)
        self._fingerprints: list[Mapping[str, str]] = []
        self._numbers: dict[str, int] = {}
        self._rows: dict[str, list[Any]] = {}
        with _without_collecting():
            held = self._load()
            self._rows = {name: held[name] for name in names if name in held}
        self._changed = len(self._rows) < len(held)

    def read(self, name: str) -> ExperimentResult:
        """Return the record ``name``, from the index if it is there.

        Raises:
            RecordInvalid: see ``documents.read_record``.
        """
        if name not in self._rows:
            self.add(name, documents.read_record(self._storage.read(name), name))
        return self._result(self._rows[name])

    def add(self, name: str, result: ExperimentResult) -> None:
        """Know the record ``name`` without reading it."""
        content = documents.record_to_plain(result, with_provenance=False)
        content["fingerprint"] = self._number(result.fingerprint)
        self._rows[name] = [
            content.get(key, default) for key, default in zip(_KEYS, _DEFAULTS, strict=True)
        ]
        self._changed = True

    def save(self) -> None:
        """Write the index, if it has changed; a storage that refuses it loses only time."""
        if not self._changed:
            return
        content = {"head": _HEAD, "fingerprints": self._fingerprints, "records": self._rows}
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        try:
            self._storage.write(self._name, text.encode("utf-8", "surrogatepass"), durable=False)
        except StorageError:
            return
        self._changed = False

    def _load(self) -> dict[str, list[Any]]:
        try:
            content = json.loads(self._storage.read(self._name))
            held: dict[str, list[Any]] = content["records"]
            prints = content["fingerprints"]
            whole = content["head"] == _HEAD and all(
                len(row) == len(_KEYS) and 0 <= row[_FINGERPRINT] < len(prints)
                for row in held.values()
            )
        # It is not there yet, or was damaged: then the records are read, and it is written anew.
        except (OSError, StorageError, ValueError, LookupError, TypeError, AttributeError):
            return {}
        if whole:
            self._fingerprints = prints
        return held if whole else {}

    def _number(self, fingerprint: Mapping[str, str]) -> int:
        """Return where ``fingerprint``, which most records share, is kept once."""
        if not self._numbers:
            self._numbers = {_text(one): n for n, one in enumerate(self._fingerprints)}
        number = self._numbers.setdefault(_text(fingerprint), len(self._fingerprints))
        if number == len(self._fingerprints):
            self._fingerprints.append(dict(fingerprint))
        return number

    def _result(self, row: list[Any]) -> ExperimentResult:
        content = dict(zip(_KEYS, row, strict=True))
        content["fingerprint"] = self._fingerprints[row[_FINGERPRINT]]
        content["non_finite"] = tuple(content["non_finite"] or ())
        content["assertions"] = tuple(Assertion(**one) for one in content["assertions"] or ())
        content["artifacts"] = tuple(Artifact(**one) for one in content["artifacts"] or ())
        content["metrics"] = content["metrics"] or {}
        return ExperimentResult(**content)


def index_name(experiment_id: str) -> str:
    """Return the storage name of the index of an experiment."""
    return f"{experiment_id}/index.json"


def _text(fingerprint: Mapping[str, str]) -> str:
    return json.dumps(fingerprint, sort_keys=True)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Spare the garbage collector the tens of thousands of lists of an index: none is garbage."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
