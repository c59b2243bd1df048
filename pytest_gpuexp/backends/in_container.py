"""The inside of a container: one warm snapshot, and one attempt after the other in it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from pytest_gpuexp import bundle, deliveries, documents, provenance, recording, transport
from pytest_gpuexp.backends import relayed, travelling
from pytest_gpuexp.backends.container_checkpoints import ContainerCheckpoints, Volume
from pytest_gpuexp.backends.local import LocalBackend
from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.forerunner import MARK
from pytest_gpuexp.gpus import visible_gpus
from pytest_gpuexp.records import Attempt, Job, Outcome
from pytest_gpuexp.storage.local import LocalStorage

VERSION = 2
LUGGAGE = ".gpuexp"  # on the volume: what sessions have sent ahead
SPOOL = "spool"  # on the volume: files of attempts that are too large for a reply
_POLL_SECONDS = 0.25


class Claims(Protocol):
    """What is needed of a ``modal.Dict``."""

    def put(self, key: str, value: str, *, skip_if_exists: bool) -> bool:
        """Keep ``value`` under ``key``; return whether it was kept."""

    def get(self, key: str) -> Any:
        """Return what is under ``key``."""


def execute(task: str, *, volume: Volume, claims: Claims, call_id: str, folder: Path) -> str:
    """Execute the attempt of ``task`` and return its reply; both are JSON.

    A task is ``{"luggage": digest, "attempt": ..., "claim": key, "provenance": {...}, "scope":
    ...}``; the scope is that of the session's storage, as others share the volume. A reply is
    ``{"version": 2, "outcome": ..., "provenance": JSON, "files": [...], "spool": ...}``, whose
    spool is the folder of the volume with the files that are too large for it; or ``{"version": 2,
    "claimed_by": call id}`` where another call has begun the attempt; or ``{"version": 2,
    "refused": why}``. ``folder`` is where ``volume`` is mounted. Nothing is raised.
    """
    # What is raised here would reach the session as an error of Modal's client.
    try:
        return _execute(json.loads(task), volume, claims, call_id, folder)
    except Exception as error:  # noqa: BLE001
        return _reply(refused=f"{type(error).__name__}: {error}")


def _execute(
    told: Mapping[str, Any], volume: Volume, claims: Claims, call_id: str, folder: Path
) -> str:
    attempt = transport.attempt_from_plain(told["attempt"])
    # Whoever has the claim runs it: a call that was given up must not begin late.
    again = not claims.put(told["claim"], call_id, skip_if_exists=True)
    if again and (other := claims.get(told["claim"])) != call_id:
        return _reply(claimed_by=str(other))
    worker = _worker(told["luggage"], volume, folder)
    spool = folder / SPOOL / told["scope"]
    worker.checkpoints = checkpoints = ContainerCheckpoints(worker.storage, volume, spool)
    checkpoints.fetch(attempt, again=again)  # its container was taken away
    try:
        outcome = worker.run(attempt, told["provenance"])
    except GpuexpError:
        _WORKERS.pop(told["luggage"]).close()  # the next attempt begins with a new one
        raise
    run_folder = worker.storage.path(recording.run_folder(attempt))
    parcels, large = deliveries.pack(run_folder)
    if large:
        _put_on_volume(run_folder, spool / recording.run_folder(attempt), large)
        kept = spool / recording.record_name(outcome.result)
        kept.parent.mkdir(parents=True, exist_ok=True)
        facts = documents.dump({"provenance": json.loads(worker.provenance)})
        kept.write_bytes(documents.dump_record(outcome.result, facts))
        volume.commit()
    checkpoints.ended(outcome.result)
    worker.forget(attempt)
    return _reply(
        outcome=transport.outcome_to_plain(outcome),
        provenance=worker.provenance,
        files=deliveries.to_plain(parcels),
        spool=f"{SPOOL}/{told['scope']}",
    )


class _Worker:
    """A snapshot of one session's code in this container."""

    def __init__(self, luggage: str, project: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gpuexp-"))
        self.storage = LocalStorage(self.folder / "spool")
        self.checkpoints: ContainerCheckpoints | None = None
        environ = {name: value for name, value in os.environ.items() if name != MARK}
        gpus = visible_gpus(environ)
        self._gpus = _models(len(gpus))
        greeting = travelling.unpack(
            luggage, root=project, storage=self.storage.folder, gpus=gpus, sys_path=sys.path
        )
        if not _is_installed(environ):  # it came as source, so pytest must be told of it
            greeting["options"]["plugins"].append("pytest_gpuexp.plugin")
        self._sweeper = ThreadPoolExecutor(1, thread_name_prefix="gpuexp-sweep")
        self._told: Mapping[str, Any] = {}
        self.provenance = "{}"
        self._backend = LocalBackend(
            greeting=greeting,
            storage=self.storage,
            environ=environ,
            gpus=gpus,
            cores=len(os.sched_getaffinity(0)),
            parallelism=1,
            on_checkpoint=self._saved,
        )

    def run(self, attempt: Attempt, told: Mapping[str, Any]) -> Outcome:
        """Execute ``attempt``; ``told`` is what the session says of where its runs come from."""
        if told != self._told:
            here = provenance.describe(git={}, argv=(), modules={}, devices=self._gpus)
            packages = provenance.versions_here(told["packages"])
            self.provenance = json.dumps({**here, **told, "packages": packages}, sort_keys=True)
            self._told = told
        job = self._backend.submit(attempt)
        folder = self.storage.path(recording.run_folder(attempt))
        with _relaying(folder) as relay, self._ended_with_us(job):
            while not (done := self._backend.poll([job], timeout=_POLL_SECONDS)):
                relay()
        return done[job]

    def forget(self, attempt: Attempt) -> None:
        """Remove what an attempt has left, soon: the reply, which has it, waits for no disk."""
        folder = self.storage.path(recording.run_folder(attempt)).parent  # with its checkpoints
        if folder.exists():
            left = folder.rename(self.folder / f"left-{secrets.token_hex(6)}")
            self._sweeper.submit(shutil.rmtree, left, ignore_errors=True)

    def close(self) -> None:
        """End the snapshot."""
        self._backend.close()
        self._sweeper.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _saved(self, attempt: Attempt, name: str) -> None:
        if self.checkpoints is not None:
            self.checkpoints.saved(attempt, name)

    @contextmanager
    def _ended_with_us(self, job: Job) -> Iterator[None]:
        try:
            yield
        except BaseException:  # cancelled, or the container must go: so must the handler
            self._backend.cancel([job])
            deadline = time.monotonic() + 20.0
            while time.monotonic() < deadline and not self._backend.poll([job], timeout=0.2):
                pass
            if self.checkpoints is not None:
                self.checkpoints.settle()
            raise


_WORKERS: dict[str, _Worker] = {}


def _worker(digest: str, volume: Volume, folder: Path) -> _Worker:
    """Return the snapshot of the session ``digest``, made with its first attempt here."""
    if digest not in _WORKERS:
        while _WORKERS:  # of code that was; it holds memory and the GPU's context
            _WORKERS.popitem()[1].close()
        luggage = _fetch(folder / LUGGAGE / f"{digest}.json", volume).decode()
        code = travelling.bundle_of(luggage)
        project = Path(tempfile.gettempdir()) / f"gpuexp-{os.getpid()}-{code[:16]}" / "project"
        project.parent.mkdir(exist_ok=True)
        bundle.unpack(_fetch(folder / LUGGAGE / f"{code}.tar.gz", volume), project)
        _WORKERS[digest] = _Worker(luggage, project)
    return _WORKERS[digest]


def _fetch(path: Path, volume: Volume) -> bytes:
    if not path.is_file():
        volume.reload()  # it was sent after this container had started
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise GpuexpError(
            f"{path.name} is not on the results volume: what the session sent ahead of its runs "
            "was removed. Start the session again."
        ) from None


def _put_on_volume(source: Path, target: Path, names: Sequence[str]) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


@contextmanager
def _relaying(folder: Path) -> Iterator[Any]:
    """Give what copies what is new in the attempt's log and series to this process's own output."""
    sources = ((folder / "log.txt", ""), (folder / "metrics.jsonl", relayed.MARK))
    places = dict.fromkeys(sources, 0)

    def relay() -> None:
        for source in sources:
            path, mark = source
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                file.seek(places[source])
                new = file.read()
                whole = new[: new.rfind(b"\n") + 1] if mark else new
                places[source] += len(whole)
                text = whole.decode(errors="replace")
                lines = text.splitlines(keepends=True) if mark else [text]
                sys.stdout.write("".join(f"{mark}{line}" for line in lines))
        sys.stdout.flush()

    try:
        yield relay
    finally:
        relay()


def _is_installed(environ: Mapping[str, str]) -> bool:
    """Return whether pytest finds the plugin by itself."""
    if environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        return False
    return any(one.name == "gpuexp" for one in entry_points(group="pytest11"))


def _models(count: int) -> list[str]:
    """Return the models of this container's GPUs, as their driver names them; [] without any."""
    if not count:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in told.stdout.splitlines() if line.strip()]


def _reply(**told: Any) -> str:
    return json.dumps({"version": VERSION, **told})
