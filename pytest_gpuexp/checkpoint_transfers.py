"""The way of checkpoints between a spool and a storage that workers cannot reach."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from pytest_gpuexp.checkpoints import (
    CONTENT,
    FOLDER,
    MANIFEST,
    WRITING,
    Name,
    manifest_of,
    names_in,
    read_manifest,
    read_names,
    settle,
)
from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.records import Attempt, ExperimentResult
from pytest_gpuexp.storage.local import LocalStorage

_PUBLISHING = ".publishing-"


class CheckpointTransfers:
    """Publishes checkpoints and fetches them, each whole or not at all.

    The content goes first and the manifest, with the sha256 of each file, last: what has no
    manifest is no checkpoint. Threads may share it.
    """

    def __init__(self, spool: LocalStorage, storage: Storage) -> None:
        """Go between ``spool`` and ``storage``, under the same names."""
        self._spool = spool
        self._storage = storage
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._newest: dict[str, Name] = {}

    def publish(self, folder: str, name: Name) -> None:
        """Publish the checkpoint ``name`` in ``folder``, unless it or a newer one is there already.

        Nothing happens where the spool has it no more: the run has saved newer ones since.

        Raises:
            StorageError: it could not be published.
        """
        with self._turns[folder]:
            if name <= self._newest.get(folder, Name(number=0, attempt=0, step=0)):
                return
            target = f"{folder}/{name}"
            if not self._storage.exists(f"{target}/{MANIFEST}"):
                try:
                    held = _hold(self._spool.path(target))
                except FileNotFoundError:
                    return
                try:
                    self._send(held, target)
                finally:
                    shutil.rmtree(held, ignore_errors=True)
            self._newest[folder] = name
            self._prune(folder, name)

    def publish_of(self, result: ExperimentResult) -> None:
        """Publish the checkpoint of which the record of ``result`` speaks.

        Raises:
            StorageError: it could not be published.
        """
        for name in read_names([(result.checkpoint_path or "").rpartition("/")[2]]):
            self.publish(_folder(result.experiment_id, result.run_id), name)

    def forget(self, result: ExperimentResult) -> None:
        """Remove from the spool what a completed run will never go on from."""
        if result.checkpoint_path is not None or result.restored_step is not None:
            folder = _folder(result.experiment_id, result.run_id)
            with self._turns[folder]:
                shutil.rmtree(self._spool.path(folder), ignore_errors=True)

    def fetch(self, attempt: Attempt) -> None:
        """Bring the newest checkpoint that ``attempt`` may go on from into the spool.

        Nothing happens where that is here, or where there is none.

        Raises:
            StorageError: there is one, and it could not be fetched.
        """
        folder = _folder(attempt.spec.experiment_id, attempt.spec.run_id)
        mine = set(attempt.restores)
        here = [name for name in names_in(self._spool.path(folder)) if name.attempt in mine]
        if not mine or any(name.attempt == max(mine) for name in here):
            return  # the last attempt was made here, so nobody knows of a newer one
        entries = [entry.rpartition("/")[2] for entry in self._storage.list(folder)]
        for name in sorted(read_names(entries), reverse=True):
            if here and name <= max(here):
                return
            if name.attempt in mine and self._bring(folder, name):
                return

    def _send(self, held: Path, target: str) -> None:
        manifest = read_manifest(held)
        digests = {name: _sha256(held / CONTENT / name) for name in manifest.files}
        for name in manifest.files:
            self._storage.upload_file(held / CONTENT / name, f"{target}/{CONTENT}/{name}")
        told = dataclasses.asdict(dataclasses.replace(manifest, sha256=digests))
        self._storage.write(f"{target}/{MANIFEST}", json.dumps(told).encode())

    def _bring(self, folder: str, name: Name) -> bool:
        """Fetch the checkpoint ``name``; return whether it was whole."""
        source, place = f"{folder}/{name}", self._spool.path(f"{folder}/{name}")
        try:
            text = self._storage.read(f"{source}/{MANIFEST}")
        except FileNotFoundError:
            return False  # whoever sent it was killed before its last write
        manifest, temporary = manifest_of(text), place.with_name(f"{WRITING}{name}")
        shutil.rmtree(temporary, ignore_errors=True)
        content = LocalStorage(temporary / CONTENT)
        try:
            for file, sha256 in manifest.sha256.items():
                path = content.path(file)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._storage.download_file(f"{source}/{CONTENT}/{file}", path)
                if _sha256(path) != sha256:
                    return False
            content.folder.mkdir(parents=True, exist_ok=True)
            (temporary / MANIFEST).write_bytes(text)
            settle(temporary, place)
        except FileNotFoundError:
            return False
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return True

    def _prune(self, folder: str, newest: Name) -> None:
        """Remove what is older than the last ones to keep, and what was never whole."""
        text = self._storage.read(f"{folder}/{newest}/{MANIFEST}")
        left = manifest_of(text).keep
        entries = [entry.rpartition("/")[2] for entry in self._storage.list(folder)]
        for name in sorted(read_names(entries), reverse=True):
            place = f"{folder}/{name}"
            if name > newest:
                continue
            if left and self._storage.exists(f"{place}/{MANIFEST}"):
                left -= 1
            else:
                self._storage.delete(f"{place}/{MANIFEST}")
                self._delete(f"{place}/{CONTENT}")

    def _delete(self, name: str) -> None:
        below = list(self._storage.list(name))
        for one in below:
            self._delete(one)
        if not below:
            self._storage.delete(name)


class Uploads:
    """Publishes checkpoints of running attempts behind their backs.

    A run has one on its way and one that waits, at most: a newer one takes its place.
    """

    def __init__(
        self, transfers: CheckpointTransfers, pool: Executor, *, tell: Callable[[str], object]
    ) -> None:
        """Publish in ``pool``; ``tell`` gets why something could not be, once."""
        self._transfers = transfers
        self._pool = pool
        self._tell = tell
        self._lock = threading.Lock()
        self._waiting: dict[str, Name] = {}
        self._busy: set[str] = set()
        self._failed = False

    def offer(self, attempt: Attempt, text: str) -> None:
        """Publish the checkpoint ``text`` of ``attempt`` soon, and return at once."""
        folder = _folder(attempt.spec.experiment_id, attempt.spec.run_id)
        with self._lock:
            for name in read_names([text]):
                self._waiting[folder] = name
            if folder in self._busy:
                return
            self._busy.add(folder)
        with contextlib.suppress(RuntimeError):  # the session ends: the spool keeps it
            self._pool.submit(self._work, folder)

    def _work(self, folder: str) -> None:
        while True:
            with self._lock:
                name = self._waiting.pop(folder, None)
                if name is None:
                    self._busy.discard(folder)
                    return
            try:
                self._transfers.publish(folder, name)
            except (StorageError, OSError, ValueError, TypeError) as error:
                if not self._failed:
                    self._failed = True
                    self._tell(f"a checkpoint did not reach the storage, and stays here: {error}")


def _folder(experiment_id: str, run_id: str) -> str:
    return f"{experiment_id}/runs/{run_id}/{FOLDER}"


def _hold(place: Path) -> Path:
    """Return links to what is in ``place``, which its run may remove at any time.

    Raises:
        FileNotFoundError: it was removed already.
    """
    held = place.with_name(f"{_PUBLISHING}{place.name}")
    shutil.rmtree(held, ignore_errors=True)
    try:
        shutil.copytree(place, held, copy_function=_link)
    except (FileNotFoundError, shutil.Error) as error:
        shutil.rmtree(held, ignore_errors=True)
        raise FileNotFoundError(f"{place} is gone") from error
    return held


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
