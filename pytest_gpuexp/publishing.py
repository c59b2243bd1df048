"""How the files of an ended attempt get from the spool into the storage."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_gpuexp import documents
from pytest_gpuexp.checkpoint_transfers import CheckpointTransfers
from pytest_gpuexp.errors import GpuexpError, ObjectDamaged, StorageError
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.records import Artifact, ExperimentResult
from pytest_gpuexp.storage.local import LocalStorage

ARTIFACTS = "artifacts-by-sha256"
THREADS = 16
_SMALL = 1 << 20  # bytes that are rather sent in vain than asked for


class Publisher:
    """Publishes attempts from a spool, each verified before its copy is removed.

    Threads may share it. Whatever ends it, an attempt is in the spool, or in the storage, or in
    both: to publish one again changes nothing.
    """

    def __init__(self, spool: LocalStorage, storage: Storage) -> None:
        """Publish from ``spool`` into ``storage``, under the same names but for artifacts."""
        self._spool = spool
        self._storage = storage
        self.checkpoints = CheckpointTransfers(spool, storage)
        self._sent: set[str] = set()
        self._sending: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def leftovers(self) -> list[str]:
        """Return the names of the records that an earlier session could not publish."""
        folder = self._spool.folder
        return sorted(
            path.relative_to(folder).as_posix()
            for path in folder.glob("*/records/*.yaml")
            if not path.name.startswith(".writing-")
        )

    def publish(self, name: str, result: ExperimentResult | None = None) -> None:
        """Publish the attempt whose record is ``name``: the record last, when all else is there.

        ``result`` is what the record says, where that is known: it need not be parsed then.

        Raises:
            StorageError: something could not be published; all of it stays in the spool.
        """
        try:
            record = self._spool.read(name)
            result = result or documents.read_record(record, name)
            folder = self._spool.path(_run_folder(result))
            for path in _plain_files(folder):
                self._storage.upload_file(path, f"{_run_folder(result)}/{path.name}")
            for artifact in result.artifacts:
                self._publish_artifact(folder / "artifacts" / artifact.name, artifact)
            self.checkpoints.publish_of(result)
        except FileNotFoundError as error:
            if self._storage.exists(name):
                self._remove(name)  # another session has published it meanwhile
                return
            raise StorageError(
                f"{name} cannot be published: {error.filename or error} is not in the spool "
                f"{self._spool.url} any more. Run it again."
            ) from None
        self._commit(name, record)
        if result.status == "completed":
            self.checkpoints.forget(result)
        shutil.rmtree(folder, ignore_errors=True)
        self._spool.delete(name)

    def attempt(self, name: str, result: ExperimentResult | None = None) -> str:
        """Publish as ``publish`` does; return why it could not be, "" where it is published."""
        try:
            self.publish(name, result)
        except (GpuexpError, OSError) as error:
            return str(error)
        return ""

    def _commit(self, name: str, record: bytes) -> None:
        if self._storage.write_if_absent(name, record):
            return
        try:
            stands = self._storage.read(name)
        except ObjectDamaged:  # its sender was killed, and the server has kept the half of it
            self._storage.write(name, record)
            return
        if stands != record:
            raise StorageError(
                f"{name} is in {self._storage.url} with other content, which stands; this one "
                f"stays in the spool {self._spool.url}. Compare the two, and delete the wrong one."
            )

    def _publish_artifact(self, path: Path, artifact: Artifact) -> None:
        sha = artifact.sha256
        with self._sending[sha]:  # the same bytes are sent once
            if sha in self._sent:
                return
            self._send(path, sha)
            self._sent.add(sha)

    def _send(self, path: Path, sha: str) -> None:
        """Put the bytes of ``path`` under their sha256, unless they are there.

        That the name is taken says little: a server may have damaged what it was sent before.
        """
        name, small = f"{ARTIFACTS}/{sha}", path.stat().st_size <= _SMALL
        if small:
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
        else:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha:
            raise StorageError(
                f"{path} has changed since its run ended, so it cannot be published. Run it again."
            )
        if small:  # one request says that it was absent, and sends it
            if not self._storage.write_if_absent(name, data) and not self._gives(name, data):
                self._storage.write(name, data)
        elif not (self._storage.exists(name) and self._holds(name, path.parent)):
            self._storage.upload_file(path, name)

    def _gives(self, name: str, data: bytes) -> bool:
        """Return whether ``data`` can be read under ``name``."""
        try:
            return self._storage.read(name) == data
        except (ObjectDamaged, FileNotFoundError):
            return False

    def _holds(self, name: str, folder: Path) -> bool:
        """Return whether what is under ``name`` comes into ``folder`` with the sha256 it names."""
        with tempfile.TemporaryDirectory(
            prefix=".writing-", dir=folder, ignore_cleanup_errors=True
        ) as aside:
            there = Path(aside, "there")
            try:
                self._storage.download_file(name, there)
                with there.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            # A disk without room for a second copy is no reason to keep the first one here.
            except (ObjectDamaged, OSError):
                return False
        return found == name.rpartition("/")[2]

    def _remove(self, name: str) -> None:
        if self._spool.exists(name):
            result = documents.read_record(self._spool.read(name), name)
            shutil.rmtree(self._spool.path(_run_folder(result)), ignore_errors=True)
            self._spool.delete(name)


def publish_leftovers(publisher: Publisher) -> list[str]:
    """Publish what earlier sessions could not, running nothing; return what to tell of it."""
    names = publisher.leftovers()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="gpuexp-publish") as pool:
        failures = [reason for reason in pool.map(publisher.attempt, names) if reason]
    told = []
    if published := len(names) - len(failures):
        runs = "1 run" if published == 1 else f"{published} runs"
        told.append(f"{runs} of an earlier session {'is' if published == 1 else 'are'} published")
    if failures:
        told.append(f"{len(failures)} of an earlier session cannot be published: {failures[0]}")
    return told


def open_spool(root: Path, url: str) -> LocalStorage:
    """Return the spool of the storage ``url`` below ``root``; git is told to leave it alone."""
    folder = root / ".gpuexp"
    ignore = folder / ".gitignore"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise StorageError(
            f"finished runs wait in {folder} for their way to {url}, and it cannot be made: "
            f"{error.strerror}. Make the folder writable, or choose another --rootdir."
        ) from error
    return LocalStorage(folder / "spool" / url.partition("://")[2])


def _run_folder(result: ExperimentResult) -> str:
    return f"{result.experiment_id}/runs/{result.run_id}/{result.attempt}"


def _plain_files(folder: Path) -> Iterator[Path]:
    """Yield log and series; there is no folder where nothing was said."""
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith(".writing-"):
                yield path
