"""How what a call on Modal replies becomes the files and the outcome of its attempt here."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

from pytest_gpuexp import deliveries, documents, recording, transport
from pytest_gpuexp.backends import in_container
from pytest_gpuexp.backends.modal_service import ModalService
from pytest_gpuexp.errors import BackendUnavailable, GpuexpError, RecordInvalid, StorageError
from pytest_gpuexp.records import Attempt, Outcome
from pytest_gpuexp.storage.local import LocalStorage

_WAITS = (0.5, 2.0, 5.0)  # seconds between tries to fetch a file


class Landing:
    """Brings replies home: files first, the record last."""

    def __init__(
        self,
        service: ModalService,
        storage: LocalStorage,
        *,
        scope: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Put into ``storage``; large files lie under ``scope`` on the volume."""
        self._service = service
        self._storage = storage
        self._spool = f"{in_container.SPOOL}/{scope}"
        self._sleep = sleep

    def land(self, attempt: Attempt, text: str) -> Outcome:
        """Return the outcome that the reply ``text`` tells, with its files and record in place.

        Raises:
            GpuexpError: the reply is none, or says why the attempt could not be executed.
            LookupError, TypeError, ValueError: it is none either.
            BackendUnavailable: a file cannot be had now; reply and file are still on Modal.
        """
        reply = json.loads(text)
        if not isinstance(reply, dict) or reply.get("version") != in_container.VERSION:
            raise RecordInvalid(f"it is none of pytest-gpuexp's: {text[:80]!r}")
        if "refused" in reply:
            raise GpuexpError(str(reply["refused"]))
        outcome = transport.outcome_from_plain(reply["outcome"], attempt)
        if outcome.result.run_id != attempt.spec.run_id:
            raise RecordInvalid(f"it speaks of {outcome.result.run_id}")
        parcels = deliveries.from_plain(reply["files"])
        folder, name = recording.run_folder(attempt), recording.record_name(outcome.result)
        self._storage.path(f"{folder}/log.txt").unlink(missing_ok=True)  # as far as it was heard
        self._unpack(parcels, folder)
        if not self._storage.write_if_absent(name, reply["record"].encode()):
            standing = documents.read_record(self._storage.read(name), name)
            outcome = dataclasses.replace(outcome, result=standing)
        if any(parcel.data is None for parcel in parcels):
            self._service.remove([f"{self._spool}/{folder}", f"{self._spool}/{name}"])
        return outcome

    def _unpack(self, parcels: list[deliveries.Parcel], folder: str) -> None:
        for wait in (*_WAITS, None):
            try:
                deliveries.unpack(
                    parcels,
                    self._storage.path(folder),
                    fetch=lambda name, path: self._fetch(f"{self._spool}/{folder}/{name}", path),
                )
                return
            # The client raises what it likes, and none of it makes the run undone.
            except Exception as error:
                if wait is None:
                    raise BackendUnavailable(
                        f"files of {folder} cannot be fetched from Modal's volume: "
                        f"{type(error).__name__}: {error}. They are kept there; come back with: "
                        "pytest --resume"
                    ) from error
                if isinstance(error, StorageError) and "refused" in str(error):
                    raise
                self._sleep(wait)

    def _fetch(self, name: str, path: Path) -> None:
        with path.open("wb") as file:
            for block in self._service.volume().read_file(name):
                file.write(block)
