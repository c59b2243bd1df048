"""The checkpoints of one run: whole folders, of which the last few are kept."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytest_gpuexp import states
from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.plan import change
from pytest_gpuexp.records import Attempt

KEEP = 2
MANIFEST = "manifest.json"
CONTENT = "content"
FOLDER = "checkpoint"  # beside the folders of the run's attempts
_VERSION = 1
WRITING, _REMOVING = ".writing-", ".removing-"
_NAME = re.compile(r"(\d{6,})\.attempt-(\d+)\.step-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a run goes on from: the dict that was saved, or a folder with the files.

    ``folder`` holds the saved file, or what was in the saved folder; it stays until the run has
    saved as many newer ones as it keeps. ``attempt`` is the one that has saved it.
    """

    step: int
    state: dict[Any, Any] | None
    folder: Path
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Name:
    """What the name of a checkpoint's folder says; a later one is larger."""

    number: int
    attempt: int
    step: int

    def __str__(self) -> str:
        """Return the folder's name: ``000003.attempt-1.step-200``."""
        return f"{self.number:06d}.attempt-{self.attempt}.step-{self.step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a checkpoint says of itself.

    ``files`` are sizes in bytes, by name, and ``sha256`` their digests (hex), in a bucket alone.
    """

    kind: str  # "state" or "files"
    keep: int
    submitted_at: str
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    version: int = _VERSION


class Checkpoints:
    """Saves and restores the checkpoints of one attempt's run.

    Each is written beside its place and then renamed, so that a kill leaves it whole or absent.
    """

    def __init__(
        self, attempt: Attempt, folder: Path, *, tell: Callable[[Mapping[str, str]], object]
    ) -> None:
        """Keep checkpoints in ``folder``, which is made with the first one.

        ``tell`` gets a ``notice`` for the user, or the name of a ``checkpoint`` that was saved.
        """
        self.saved: str | None = None  # the newest name
        self.restored_step: int | None = None
        self._attempt = attempt
        self._folder = folder
        self._tell = tell

    def save(
        self, content: Mapping[Any, Any] | str | os.PathLike[str], *, step: int | None, keep: int
    ) -> None:
        """Save ``content``, a state or the path of a file or folder, and remove the oldest ones.

        Raises:
            UsageProblems: the state holds what cannot be kept.
            GpuexpError: the path leads nowhere, or ``step`` or ``keep`` make no sense.
        """
        _check(step, keep)
        last = max(self._restorable(), default=None)
        taken = max(names_in(self._folder), default=None)
        if step is None:
            step = 0 if last is None else last.step + 1
        number = 1 if taken is None else taken.number + 1
        name = Name(number=number, attempt=self._attempt.number, step=step)
        temporary = self._folder / f"{WRITING}{name}"
        if not self.saved:
            self._tidy()
        try:
            self._write(content, temporary, keep)
            settle(temporary, self._folder / str(name))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self.saved = str(name)
        for old in sorted(names_in(self._folder))[:-keep]:
            remove(self._folder / str(old))
        self._tell({"checkpoint": str(name)})

    def restore(self) -> Checkpoint | None:
        """Return the newest whole checkpoint that this attempt may go on from, None without one."""
        for name in sorted(self._restorable(), reverse=True):
            place = self._folder / str(name)
            try:
                manifest = read_manifest(place)
                if not self._may(name, manifest):
                    continue
                _verify(place / CONTENT, manifest.files)
                is_state = manifest.kind == "state"
                state = states.read_state(place / CONTENT) if is_state else None
            except Exception as error:  # noqa: BLE001 (torch and numpy raise what they like)
                self._say(
                    f"the checkpoint {name} cannot be read, so an older one is tried: {error}"
                )
                continue
            self.restored_step = name.step
            return Checkpoint(
                step=name.step, state=state, folder=place / CONTENT, attempt=name.attempt
            )
        return None

    def _may(self, name: Name, manifest: Manifest) -> bool:
        mine = name.attempt == self._attempt.number
        if mine:  # by this attempt, or by one that had its number before records were deleted
            return manifest.submitted_at == self._attempt.submitted_at
        changed = change(manifest.fingerprint, self._attempt.fingerprint)
        if changed and not self._attempt.any_code:
            self._say(
                f"the checkpoint at step {name.step} of attempt {name.attempt} is of other code "
                f"({changed}), so the run begins anew; --resume --any-code goes on from it"
            )
            return False
        return True

    def _restorable(self) -> list[Name]:
        mine = {self._attempt.number, *self._attempt.restores}
        return [name for name in names_in(self._folder) if name.attempt in mine]

    def _write(self, content: Any, temporary: Path, keep: int) -> None:
        place = temporary / CONTENT
        place.mkdir(parents=True)
        if isinstance(content, Mapping):
            states.write_state(content, place)
        else:
            _copy(Path(content), place)
        manifest = Manifest(
            kind="state" if isinstance(content, Mapping) else "files",
            keep=keep,
            submitted_at=self._attempt.submitted_at,
            fingerprint=dict(self._attempt.fingerprint),
            files=sizes(place),
        )
        (temporary / MANIFEST).write_text(json.dumps(asdict(manifest)))

    def _tidy(self) -> None:
        """Remove what a kill has left half written or half removed."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.listdir(self._folder):
                if entry.startswith((WRITING, _REMOVING)):
                    shutil.rmtree(self._folder / entry, ignore_errors=True)

    def _say(self, text: str) -> None:
        self._tell({"notice": f"{self._attempt.spec.name}: {text}"})


def checkpoint_folder(attempt_folder: Path) -> Path:
    """Return where the checkpoints of the run lie that has an attempt in ``attempt_folder``."""
    return attempt_folder.parent / FOLDER


def names_in(folder: Path) -> list[Name]:
    """Return the whole checkpoints in ``folder``, in no order."""
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return []
    return list(read_names(entries))


def read_names(texts: Collection[str]) -> Iterator[Name]:
    """Yield what those of ``texts`` say that are names of checkpoints."""
    for text in texts:
        if match := _NAME.fullmatch(text):
            number, attempt, step = map(int, match.groups())
            yield Name(number=number, attempt=attempt, step=step)


def newest_path(attempt_folder: Path, run_id: str, attempt: int) -> str | None:
    """Return the ``checkpoint_path`` of an attempt that cannot speak, None where it saved none."""
    found = [n for n in names_in(checkpoint_folder(attempt_folder)) if n.attempt == attempt]
    return path_of(run_id, str(max(found))) if found else None


def path_of(run_id: str, name: str) -> str:
    """Return where the checkpoint ``name`` of a run lies below the experiment's folder."""
    return f"runs/{run_id}/{FOLDER}/{name}"


def read_manifest(place: Path) -> Manifest:
    """Return what the checkpoint in ``place`` says of itself.

    Raises:
        ValueError, TypeError, OSError: it says nothing that this version understands.
    """
    return manifest_of((place / MANIFEST).read_bytes())


def manifest_of(data: bytes) -> Manifest:
    """Return the manifest that ``data`` is; see ``read_manifest``."""
    manifest = Manifest(**json.loads(data))
    if manifest.version != _VERSION:
        raise ValueError(f"its version {manifest.version} is unknown")
    return manifest


def sizes(folder: Path) -> dict[str, int]:
    """Return the sizes in bytes of all files below ``folder``, by their names there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def settle(temporary: Path, place: Path) -> None:
    """Bring a whole checkpoint to its place: it survives a loss of power, or was never there."""
    for path in [temporary, *temporary.rglob("*")]:
        _sync(path)
    os.rename(temporary, place)
    _sync(place.parent)


def remove(place: Path) -> None:
    """Remove a checkpoint: at no moment does a part of it pass for one."""
    gone = place.with_name(f"{_REMOVING}{place.name}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(place, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _verify(content: Path, files: Mapping[str, int]) -> None:
    if (found := sizes(content)) != files:
        wrong = sorted(name for name in {*found, *files} if found.get(name) != files.get(name))
        raise ValueError(f"{', '.join(wrong)} is not as it was saved")


def _check(step: Any, keep: Any) -> None:
    if step is not None and (type(step) is not int or step < 0):
        raise GpuexpError(f"checkpoint: step={step!r} is not a number of steps; write step=epoch.")
    if type(keep) is not int or keep < 1:
        raise GpuexpError(f"checkpoint: keep={keep!r} is not a number of checkpoints above 0.")


def _copy(source: Path, place: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, place, dirs_exist_ok=True)
    elif source.is_file():
        shutil.copy2(source, place / source.name)
    else:
        raise GpuexpError(
            f"checkpoint: there is no file or folder {str(source)!r}. Give a dict, or the path of "
            "what your framework has written."
        )


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
