"""The checkpoints of runs in a container, which the container does not outlive."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from pytest_gpuexp import recording
from pytest_gpuexp.checkpoint_transfers import CheckpointTransfers, Uploads
from pytest_gpuexp.checkpoints import FOLDER
from pytest_gpuexp.records import Attempt, ExperimentResult
from pytest_gpuexp.storage.local import LocalStorage


class Volume(Protocol):
    """What is needed of a ``modal.Volume``."""

    def commit(self) -> None:
        """Let others see what was written here."""

    def reload(self) -> None:
        """See what others have committed."""


class ContainerCheckpoints:
    """Brings each checkpoint to the volume while its run goes on, and back to where it runs again.

    The volume is committed with the manifest, which goes last: what others see is whole.
    """

    def __init__(self, spool: LocalStorage, volume: Volume, folder: Path) -> None:
        """Go between ``spool`` and the part of ``volume`` that is mounted as ``folder``."""
        self._volume = volume
        self._folder = folder
        self._transfers = CheckpointTransfers(spool, _Committed(folder, volume))
        self._pool: ThreadPoolExecutor | None = None
        self._uploads: Uploads | None = None

    def fetch(self, attempt: Attempt, *, again: bool) -> None:
        """Bring what ``attempt`` goes on from; ``again`` where its own call has begun before.

        Raises:
            StorageError: there is a checkpoint, and it could not be had.
        """
        if not (again or attempt.restores):
            # What lies there is of a storage that was removed since: numbers begin anew.
            shutil.rmtree(self._folder / _run_folder(attempt) / FOLDER, ignore_errors=True)
            return
        self._volume.reload()
        mine = [*attempt.restores, *([attempt.number] if again else [])]
        self._transfers.fetch(dataclasses.replace(attempt, restores=mine))

    def saved(self, attempt: Attempt, name: str) -> None:
        """Bring the checkpoint ``name`` to the volume soon, and return at once."""
        if self._uploads is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="gpuexp-checkpoint")
            self._uploads = Uploads(self._transfers, self._pool, tell=_tell)
        self._uploads.offer(attempt, name)

    def settle(self) -> None:
        """Return when all that was saved is on the volume."""
        pool, self._pool, self._uploads = self._pool, None, None
        if pool is not None:
            pool.shutdown(wait=True)

    def ended(self, result: ExperimentResult) -> None:
        """See that what a further attempt goes on from is on the volume.

        What cannot be brought there is told, and the result comes home all the same.
        """
        try:
            self.settle()
            if result.status != "completed":
                self._transfers.publish_of(result)
        except Exception as error:  # noqa: BLE001
            _tell(f"a checkpoint did not reach the volume: {type(error).__name__}: {error}")


class _Committed(LocalStorage):
    """A mounted volume; what is written in one piece, a manifest, is committed at once."""

    def __init__(self, folder: Path, volume: Volume) -> None:
        super().__init__(folder)
        self._volume = volume

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        super().write(name, data, durable=durable)
        self._volume.commit()


def _run_folder(attempt: Attempt) -> str:
    return recording.run_folder(attempt).rpartition("/")[0]


def _tell(text: str) -> None:
    sys.stderr.write(f"gpuexp: {text}\n")
