"""Where a session runs its experiments, and where it keeps what they give."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from pytest_gpuexp import backend_names, recording
from pytest_gpuexp.backends.in_process import InProcessBackend
from pytest_gpuexp.backends.local import LocalBackend
from pytest_gpuexp.backends.published import PublishedBackend
from pytest_gpuexp.configuring import parallelism_of, xdist_workers
from pytest_gpuexp.errors import GpuexpError, StorageError, UsageProblems
from pytest_gpuexp.greeting import make_greeting
from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.notices import Notices
from pytest_gpuexp.own_process import OwnProcess
from pytest_gpuexp.plan_lines import facts_of
from pytest_gpuexp.protocols import Backend, Storage
from pytest_gpuexp.publishing import Publisher, open_spool, publish_leftovers
from pytest_gpuexp.records import Attempt, Job, RunSpec
from pytest_gpuexp.settings import Settings
from pytest_gpuexp.storage.local import LocalStorage
from pytest_gpuexp.storage.opening import STUB_FOLDER, open_storage
from pytest_gpuexp.storage.tigris import TigrisStorage

if TYPE_CHECKING:
    from pytest_gpuexp.backends.on_modal import ModalBackend

_OURS = (LocalBackend, InProcessBackend)  # they keep the files of runs in a folder


class Places:
    """The backend and the storage of a session, made through hooks when they are needed.

    ``refused`` says that the storage cannot be used, which was told.
    """

    def __init__(
        self, config: pytest.Config, settings: Settings, *, show: Callable[[str], object]
    ) -> None:
        """Make the storage, and the backend later; ``show`` shows a line, in the main thread."""
        self._config = config
        self._settings = settings
        config.pluginmanager.register(self, "gpuexp-places")  # the built-in ones answer by hook
        self._workers = xdist_workers(config)
        self.judges_only = bool(self._workers) and not hasattr(config, "workerinput")
        self.parallelism = parallelism_of(config, settings)
        self._notices = Notices(show)
        self.storage = self._make_storage()
        if isinstance(self.storage, TigrisStorage):
            self.storage.tell = self._notices.tell
        self.refused = False
        self._backend: Backend | None = None
        self._rented: ModalBackend | None = None
        self._published: PublishedBackend | None = None
        self._spooled: LocalStorage | None = None
        self._told = 0
        self._own_process: OwnProcess | None = None

    @property
    def look_seconds(self) -> float:
        """How long to wait between two looks at what others write into the storage."""
        return 0.2 if isinstance(self.storage, LocalStorage) else 2.0

    @property
    def started(self) -> bool:
        """Whether a backend was made."""
        return self._backend is not None

    @property
    def reports_itself(self) -> bool:
        """Whether pytest's reports of runs arise in this process anyway."""
        return isinstance(self._backend, InProcessBackend)

    def announce(self, path: Path) -> None:
        """Let the local snapshot import ``path`` now, beside the session's own import."""
        if self._settings.backend == "local":
            backend = self._make_backend()
            if isinstance(backend, LocalBackend):
                backend.collect(path)

    def open(self, provenance: bytes, items: Sequence[ExperimentItem]) -> Backend:
        """Return the backend, ready for ``items``; ``provenance``, as YAML, ends every record.

        Raises:
            pytest.UsageError: there is no backend of the name that was asked for.
        """
        backend = self._make_backend()
        if self._own_process is not None:
            self._own_process.provenance = provenance
        if isinstance(backend, LocalBackend):
            backend.prepare(provenance)
        elif self._rented is not None:
            self._rented.prepare(provenance, [item.spec for item in items])
        if self._workplace is self.storage or not (isinstance(backend, _OURS) or self._rented):
            return backend
        publisher = Publisher(self._workplace, self.storage)
        self._published = PublishedBackend(
            backend, publisher, lose=self._lose, tell=self._notices.add
        )
        return self._published

    def adopt(self, attempt: Attempt, handle: str) -> Job | None:
        """Take over ``attempt`` of another session; None where it never began, and never will."""
        assert self._rented is not None  # no other tells the handles of calls
        return self._rented.adopt(attempt, handle)

    def leave_copy(self, name: str) -> None:
        """Let those who look at Modal's volume see the report ``name``, too."""
        if self._rented is not None:
            self._notices.add(*filter(None, [self._rented.leave(name, self.storage.read(name))]))

    def folder_of(self, attempt: Attempt) -> Path:
        """Return where ``attempt`` keeps its files while it runs."""
        return self._workplace.path(recording.run_folder(attempt))

    def will_run(self, items: Sequence[ExperimentItem]) -> None:
        """Know the order of ``items``: in this process a run's fixtures may serve the next."""
        if self._own_process is not None:
            self._own_process.items = items

    def close(self) -> None:
        """Let the backend go."""
        backend = self._published or self._backend
        if backend is not None:
            with contextlib.suppress(KeyboardInterrupt):  # the second: it need not wait for threads
                backend.close()
            self._backend = self._published = None

    def check(self, specs: Iterable[RunSpec]) -> None:
        """Refuse runs that this session's places cannot take.

        Raises:
            pytest.UsageError: the backend is unknown, or a run wants more GPUs than there are.
        """
        specs, gpus = list(specs), len(self._settings.gpus)
        if self._settings.backend == "local" and gpus:
            wanting = {(spec.tier, spec.gpus): spec for spec in specs if (spec.gpus or 0) > gpus}
            problems = [
                f"{spec.node_id} asks for {spec.gpus} GPUs (tier {spec.tier}) and {gpus} are "
                "visible; choose another --gpu, or show more with CUDA_VISIBLE_DEVICES"
                for spec in wanting.values()
            ]
            if problems:
                raise pytest.UsageError(str(UsageProblems("backend local", problems)))
        if self._settings.budget is not None:
            _renting().check_budget(self._settings, specs)
        if self._config.option.collectonly or self.judges_only:
            return
        # One that resumes may need no worker, and of the local backend all is known.
        if not (self._settings.resume and self._settings.backend == "local"):
            self._make_backend()
            if self._rented is not None:
                _renting().check(self._rented, specs)
        if not self._settings.dry_run:
            self._make_storage_ready()  # what is left in the spool is published, not run again

    def _make_storage_ready(self) -> None:
        """Learn now whether the storage can be used, and publish what is left in the spool."""
        try:
            if isinstance(self.storage, TigrisStorage):
                self.storage.check()
                with contextlib.suppress(StorageError):  # these keys may not look at them
                    self.storage.sweep()
            self.publish_leftovers()
        except StorageError as error:
            self.refused = True
            raise pytest.UsageError(str(error)) from None

    def publish_leftovers(self) -> None:
        """Bring what is left in the spool to the storage."""
        if self._workplace is not self.storage:
            self._notices.add(*publish_leftovers(Publisher(self._workplace, self.storage)))

    def publish(self, name: str) -> None:
        """Bring the record ``name`` to the storage, where a dead session left it in our spool."""
        if self._workplace is not self.storage and self._workplace.exists(name):
            Publisher(self._workplace, self.storage).attempt(name)

    def notices(self) -> list[str]:
        """Return what backend and storage have to tell since the last call."""
        notices: Sequence[str] = getattr(self._backend, "notices", ())
        new = [*self._notices.take(), *notices[self._told :]]
        self._told = len(notices)
        return new

    def facts(self) -> dict[str, str]:
        """Return what the user should know of this session's places, by label."""
        parallelism = len(self._workers) if self.judges_only else self.parallelism
        return facts_of(self._settings, parallelism=parallelism, storage=self.shown(""))

    def shown(self, name: str) -> str:
        """Return where ``name`` lies, relative to where pytest was started if it is below."""
        if not isinstance(self.storage, LocalStorage):
            return f"{self.storage.url}/{name}".rstrip("/")
        path = self.storage.folder / name
        try:
            return str(path.relative_to(self._settings.invocation_dir)) or "."
        except ValueError:
            return str(path)

    @property
    def _workplace(self) -> LocalStorage:
        """The folder in which runs keep their files: the storage itself, or its spool."""
        if isinstance(self.storage, LocalStorage):
            return self.storage
        if self._spooled is None:
            self._spooled = open_spool(self._settings.root, self.storage.url)
        return self._spooled

    def _lose(self) -> None:
        if isinstance(self.storage, TigrisStorage):
            self.storage.lose()

    def _make_storage(self) -> Storage:
        url = self._settings.storage
        storage: Storage | None = self._config.hook.pytest_gpuexp_make_storage(
            url=url, settings=self._settings
        )
        if storage is None:
            raise GpuexpError(
                f"storage {url!r} is not known here. Use a folder, as --storage=results, or offer "
                "the storage by the hook pytest_gpuexp_make_storage."
            )
        folder = storage.folder if isinstance(storage, LocalStorage) else None
        if self._settings.stub and folder is not None and folder.name != STUB_FOLDER:
            return LocalStorage(folder / STUB_FOLDER)  # a hook's, which knows of no rehearsals
        return storage

    def _make_backend(self) -> Backend:
        if self._backend is None:
            name = self._settings.backend
            self._backend = self._config.hook.pytest_gpuexp_make_backend(
                name=name, settings=self._settings
            )
        if self._backend is None:
            offered = self._config.hook.pytest_gpuexp_backend_names()
            raise pytest.UsageError(backend_names.refusal(name, offered))
        return self._backend

    @pytest.hookimpl(trylast=True)
    def pytest_gpuexp_make_storage(self, url: str, settings: Settings) -> Storage | None:
        """Make a bucket of ``s3://``, and a folder of this machine of every text that is no URL."""
        return open_storage(url, folder=settings.invocation_dir, stub=settings.stub)

    @pytest.hookimpl(trylast=True)
    def pytest_gpuexp_make_backend(self, name: str, settings: Settings) -> Backend | None:
        """Make the built-in backends."""
        if name == "in-process":
            self._own_process = OwnProcess(
                self._config,
                workplace=self._workplace,
                gpus=settings.gpus,
                say=self._notices.add,
                on_checkpoint=self._saved,
            )
            return InProcessBackend(self._own_process.execute)
        if name == "modal":
            self._rented = _renting().rent(
                self._config,
                settings,
                workplace=self._workplace,
                storage=self.storage,
                parallelism=self.parallelism,
            )
            return self._rented
        if name != "local":
            return None
        share = max(1, len(self._workers)) if hasattr(self._config, "workerinput") else 1
        return LocalBackend(
            greeting=make_greeting(
                self._config, settings, storage=self._workplace.folder, parallelism=self.parallelism
            ),
            storage=self._workplace,
            environ=os.environ,
            gpus=settings.gpus,
            cores=settings.cores // share,
            parallelism=self.parallelism,
            on_checkpoint=self._saved,
            forerunner=self._config.pluginmanager.get_plugin("gpuexp-forerunner"),
        )

    def _saved(self, attempt: Attempt, checkpoint: str) -> None:
        if self._published is not None:
            self._published.saved(attempt, checkpoint)


def _renting() -> ModuleType:
    """Import late what only sessions on Modal need: asyncio and archives take 60 ms."""
    return importlib.import_module("pytest_gpuexp.renting")
