"""How what a call on Modal replies becomes the files and the outcome of its attempt here."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pytest_gpuexp import deliveries, documents, recording, transport
from pytest_gpuexp.backends import in_container
from pytest_gpuexp.backends.modal_service import ModalService
from pytest_gpuexp.checkpoints import FOLDER
from pytest_gpuexp.errors import (
    BackendUnavailable,
    GpuexpError,
    NameRefused,
    RecordInvalid,
    StorageError,
)
from pytest_gpuexp.records import Attempt, ExperimentResult, Outcome
from pytest_gpuexp.storage.local import LocalStorage

_WAITS = (0.5, 2.0, 5.0)  # seconds between tries to fetch a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A reply that was read: ``provenance`` is YAML, ``spool`` a folder of the volume."""

    outcome: Outcome
    parcels: list[deliveries.Parcel]
    provenance: bytes
    spool: str

    @property
    def large(self) -> bool:
        """Whether files of it are still on the volume."""
        return any(parcel.data is None for parcel in self.parcels)


class Landing:
    """Brings replies home: files first, the record last."""

    def __init__(
        self,
        service: ModalService,
        storage: LocalStorage,
        *,
        tidy: bool,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Put into ``storage``; ``tidy`` removes from the volume what has come home."""
        self._service = service
        self._storage = storage
        self._tidy = tidy
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait

    def read(self, attempt: Attempt, text: str) -> Arrival:
        """Return what the reply ``text`` says of ``attempt``.

        Raises:
            GpuexpError: the reply is none, or says why the attempt could not be executed.
            LookupError, TypeError, ValueError: it is none either.
        """
        reply = json.loads(text)
        if not isinstance(reply, dict) or reply.get("version") != in_container.VERSION:
            raise RecordInvalid(f"it is none of pytest-gpuexp's: {text[:80]!r}")
        if "refused" in reply:
            raise GpuexpError(str(reply["refused"]))
        outcome = transport.outcome_from_plain(reply["outcome"], attempt)
        if outcome.result.run_id != attempt.spec.run_id:
            raise RecordInvalid(f"it speaks of {outcome.result.run_id}")
        return Arrival(
            outcome=outcome,
            parcels=deliveries.from_plain(reply["files"]),
            provenance=_provenance(reply["provenance"]),
            spool=str(reply["spool"]),  # of the session that has spawned the call
        )

    def land(self, attempt: Attempt, arrived: Arrival) -> Outcome:
        """Return the outcome that has ``arrived``, its files and record in place.

        Raises:
            GpuexpError: a file is not what was sent.
            LookupError: a file is gone.
            BackendUnavailable: a file cannot be had now; reply and file are still on Modal.
        """
        outcome, spool = arrived.outcome, arrived.spool
        folder, name = recording.run_folder(attempt), recording.record_name(outcome.result)
        self._storage.path(f"{folder}/log.txt").unlink(missing_ok=True)  # as far as it was heard
        self._unpack(arrived.parcels, folder, spool)
        if not self._write(name, documents.dump_record(outcome.result, arrived.provenance)):
            standing = documents.read_record(self._storage.read(name), name)
            outcome = dataclasses.replace(outcome, result=standing)
        self._remove(outcome.result, spool, folder, name, large=arrived.large)
        return outcome

    def close(self) -> None:
        """Fetch nothing more: what is on its way stays on Modal."""
        self._closed.set()

    def _write(self, name: str, record: bytes) -> bool:
        try:
            return self._storage.write_if_absent(name, record)
        except StorageError as error:  # of this machine's disk: the run itself is well
            raise BackendUnavailable(
                f"{error} What Modal has finished is kept there; come back with: pytest --resume"
            ) from error

    def _remove(
        self, result: ExperimentResult, spool: str, folder: str, name: str, *, large: bool
    ) -> None:
        """Take off the volume what has come home, and what nobody goes on from."""
        if large and self._tidy:
            self._service.remove([f"{spool}/{folder}", f"{spool}/{name}"])
        if result.status == "completed" and result.checkpoint_path is not None:
            self._service.remove([f"{spool}/{folder.rpartition('/')[0]}/{FOLDER}"])

    def _unpack(self, parcels: list[deliveries.Parcel], folder: str, spool: str) -> None:
        for wait in (*_WAITS, None):
            if self._closed.is_set():
                raise BackendUnavailable(f"files of {folder} stay on Modal: the session has ended")
            try:
                deliveries.unpack(
                    parcels,
                    self._storage.path(folder),
                    fetch=lambda name, path: self._fetch(f"{spool}/{folder}/{name}", path),
                )
                return
            except FileNotFoundError as error:
                raise LookupError(
                    f"{error}: a file of the run is on Modal's volume no more. Run it again."
                ) from error
            except NameRefused:
                raise
            # The client raises what it likes, and none of it makes the run undone.
            except Exception as error:
                if wait is None:
                    raise BackendUnavailable(
                        f"files of {folder} cannot be fetched from Modal's volume: "
                        f"{type(error).__name__}: {error}. They are kept there; come back with: "
                        "pytest --resume"
                    ) from error
                self._sleep(wait)

    def _fetch(self, name: str, path: Path) -> None:
        with path.open("wb") as file:
            for block in self._service.volume().read_file(name):
                if self._closed.is_set():
                    raise InterruptedError("the session has ended")
                file.write(block)


@lru_cache(maxsize=256)  # the same for all runs of a container
def _provenance(text: str) -> bytes:
    facts = json.loads(text)
    if not isinstance(facts, dict):
        raise RecordInvalid("it does not say where its run comes from")
    return documents.dump({"provenance": facts})
