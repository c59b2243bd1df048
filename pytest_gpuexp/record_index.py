"""An index over the records of one experiment, so that those that were read once need not be."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, fields, replace
from typing import Any

from pytest_gpuexp import documents
from pytest_gpuexp.errors import ObjectDamaged, RecordInvalid, StorageError
from pytest_gpuexp.heads import read_head
from pytest_gpuexp.plan import Glance
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.records import Artifact, Assertion, ExperimentResult
from pytest_gpuexp.schema import VERSION
from pytest_gpuexp.storage.local import LocalStorage

_THREADS = 16
_OUTSIDE = {"provenance", "fingerprint"}  # left out, and kept once for many records
_DEFAULTS = {
    field.name: None if field.default is MISSING else field.default
    for field in fields(ExperimentResult)
    if field.name not in _OUTSIDE
}
# An index with other keys was written by another version, and is built anew.
_HEAD = [VERSION, *_DEFAULTS]


class RecordIndex:
    """A cache that may be deleted at any time: records are immutable, so it is never out of date.

    It holds all of a record but its provenance. The first line of its file is what a plan needs,
    and a line for each record follows.
    """

    def __init__(self, storage: Storage, experiment_id: str, names: Collection[str]) -> None:
        """Read the index; of what it holds, the records ``names`` are left, which are there now."""
        self._storage = storage
        self._name = index_name(experiment_id)
        # A glance of each record, and the rest of it as JSON, which is seldom asked for.
        self._glances: dict[str, Glance] = {}
        self._texts: dict[str, str] = {}
        self._fetched: dict[str, bytes] = {}
        self._fingerprints: dict[str, Mapping[str, str]] = {}
        self._load()
        gone = self._glances.keys() - set(names)
        for name in gone:
            del self._glances[name], self._texts[name]
        self._changed = bool(gone)

    def glance(self, name: str) -> Glance:
        """Return what a plan must know of the record ``name``.

        Raises:
            RecordInvalid: see ``documents.read_record``.
        """
        if name not in self._glances:
            self._know(name, self._fetched.pop(name, b"") or self._content(name))
        return self._glances[name]

    def fetch(self, names: Iterable[str]) -> None:
        """Read those of the records ``names`` that are not known, several at a time.

        A folder gives its files as quickly one after the other, when they are asked for.
        """
        unknown = [name for name in names if name not in self._glances]
        if len(unknown) > 1 and not isinstance(self._storage, LocalStorage):
            with ThreadPoolExecutor(_THREADS, thread_name_prefix="gpuexp-fetch") as pool:
                self._fetched = dict(zip(unknown, pool.map(self._ahead, unknown), strict=True))

    def _ahead(self, name: str) -> bytes:
        with contextlib.suppress(RecordInvalid):  # is told when its turn has come
            return self._content(name)
        return b""

    def _content(self, name: str) -> bytes:
        try:
            return self._storage.read(name)
        except ObjectDamaged as error:
            raise RecordInvalid(str(error)) from None

    def _know(self, name: str, data: bytes) -> None:
        head = read_head(data)
        if head is None:
            self.add(name, documents.read_record(data, name))
            return
        # The rest is read when it is asked for: a plan over ten thousand runs asks for none.
        self._glances[name], self._texts[name] = self._shared(head), ""
        self._changed = True

    def _shared(self, glance: Glance) -> Glance:
        """Return ``glance`` with the fingerprint that equal ones have: it is compared once."""
        key = _dump(glance.fingerprint)
        known = self._fingerprints.setdefault(key, glance.fingerprint)
        return replace(glance, fingerprint=known)

    def read(self, name: str) -> ExperimentResult:
        """Return the record ``name``, without its provenance where the index knows it.

        Raises:
            RecordInvalid: see ``documents.read_record``.
        """
        if name in self._glances:
            try:
                return _result(self._texts[name], self._glances[name].fingerprint)
            except (ValueError, TypeError, AttributeError):
                pass  # this line of the index was damaged; the record is what counts
        result = documents.read_record(self._content(name), name)
        self.add(name, result)
        return result

    def add(self, name: str, result: ExperimentResult) -> None:
        """Know the record ``name`` without reading it."""
        content = documents.record_to_plain(result, with_provenance=False)
        row = [content.get(key, default) for key, default in _DEFAULTS.items()]
        glance = Glance(
            status=result.status, stub=result.stub, fingerprint=dict(result.fingerprint)
        )
        self._glances[name], self._texts[name] = glance, _dump(row)
        self._changed = True

    def save(self) -> None:
        """Write the index, if it has changed; a storage that refuses it costs time and no more."""
        if not self._changed:
            return
        kinds: dict[str, int] = {}
        numbers = [
            kinds.setdefault(_dump([one.status, one.stub, one.fingerprint]), len(kinds))
            for one in self._glances.values()
        ]
        first = {
            "head": _HEAD,
            "kinds": [json.loads(text) for text in kinds],
            "names": list(self._glances),
            "numbers": numbers,
        }
        text = "\n".join([_dump(first), *self._texts.values(), ""])
        try:
            self._storage.write(self._name, text.encode(), durable=False)
        except StorageError:
            return
        self._changed = False

    def _load(self) -> None:
        try:
            line, *texts, end = self._storage.read(self._name).decode().split("\n")
            first = json.loads(line)
            if first["head"] != _HEAD or end:
                return
            kinds = [
                Glance(status=status, stub=stub, fingerprint=fingerprint)
                for status, stub, fingerprint in first["kinds"]
            ]
            glances = map(kinds.__getitem__, first["numbers"])
            held = dict(zip(first["names"], glances, strict=True))
            self._texts = dict(zip(held, texts, strict=True))
            self._glances = held
        # It is not there yet, or was damaged: then the records are read, and it is written anew.
        except (OSError, StorageError, ValueError, LookupError, TypeError):
            self._texts = {}


def index_name(experiment_id: str) -> str:
    """Return the storage name of the index of an experiment."""
    return f"{experiment_id}/index.jsonl"


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _result(text: str, fingerprint: Mapping[str, str]) -> ExperimentResult:
    content: dict[str, Any] = dict(zip(_DEFAULTS, json.loads(text), strict=True))
    for key, kind in (("assertions", Assertion), ("artifacts", Artifact)):
        content[key] = tuple(kind(**one) for one in content[key] or ())
    for key in ("non_finite", "seeded"):
        content[key] = tuple(content[key] or ())
    content["metrics"] = content["metrics"] or {}
    return ExperimentResult(**content, fingerprint=fingerprint)
