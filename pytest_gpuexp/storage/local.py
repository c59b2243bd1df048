"""A storage that is a folder of this machine."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pytest_gpuexp.errors import StorageError

# What os.link fails with on FAT, and on some network and cloud drives.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


class LocalStorage:
    """Files below one folder, which is made with the first write.

    Every durable write goes to a name of its own and is then moved or linked to its place, so that
    a reader, or a kill, finds the whole file or none.
    """

    def __init__(self, folder: Path) -> None:
        """Keep files below ``folder``; nothing is touched yet."""
        self.folder = folder
        self.url = str(folder)

    def path(self, name: str) -> Path:
        """Return where ``name`` lies.

        Raises:
            StorageError: ``name`` is absolute, empty, or climbs out of the folder.
        """
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in name:
            raise StorageError(
                f"{name!r} is not a name below the storage folder {self.url}. "
                "Use a relative name without '..'."
            )
        return self.folder / pure

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Put ``data`` under ``name`` whole, replacing what was there."""
        path = self.path(name)
        with _beside(path, lambda file: _write_all(file, data), durable) as temporary:
            os.replace(temporary, path)

    def write_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        """Put ``data`` under ``name`` unless it is taken; return whether this call wrote it."""
        path = self.path(name)
        if not durable:
            return _create(path, data)
        with _beside(path, lambda file: _write_all(file, data), durable) as temporary:
            try:
                os.link(temporary, path)  # fails where ``path`` exists, as rename does not
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return _replace_if_absent(temporary, path)
        return True

    def read(self, name: str) -> bytes:
        """Return what is under ``name``."""
        return self.path(name).read_bytes()

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names directly below the folder ``prefix``; files on their way are left out."""
        folder = self.path(prefix) if prefix else self.folder
        if folder.is_dir():
            stem = f"{prefix.rstrip('/')}/" if prefix else ""
            for name in os.listdir(folder):
                if not name.startswith(".writing-"):
                    yield f"{stem}{name}"

    def exists(self, name: str) -> bool:
        """Return whether there is something under ``name``."""
        return self.path(name).exists()

    def delete(self, name: str) -> None:
        """Remove what is under ``name``, if anything."""
        self.path(name).unlink(missing_ok=True)

    def upload_file(self, path: Path, name: str) -> None:
        """Put the bytes of ``path`` under ``name``, whole."""
        target = self.path(name)
        with (
            path.open("rb") as source,
            _beside(target, lambda file: _copy(source.fileno(), file), True) as temporary,
        ):
            os.replace(temporary, target)

    def download_file(self, name: str, path: Path) -> None:
        """Put what is under ``name`` into ``path``, whole."""
        temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
        shutil.copyfile(self.path(name), temporary)
        os.replace(temporary, path)


def _create(path: Path, data: bytes) -> bool:
    """Make ``path`` in one write, a third of the system calls of a whole-or-absent one."""
    try:
        file = _open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return False
    except OSError as error:
        raise _refusal(path, error) from error
    try:
        _write_all(file, data)
    except OSError as error:
        os.unlink(path)
        raise _refusal(path, error) from error
    finally:
        os.close(file)
    return True


@contextmanager
def _beside(path: Path, fill: Callable[[int], None], durable: bool) -> Iterator[str]:
    """Give a file next to ``path`` that ``fill`` has written, to be moved or linked there.

    Raises:
        StorageError: it could not be written, or not be brought to its place.
    """
    name = f".writing-{os.getpid()}-{threading.get_ident()}-{path.name}"
    temporary = os.path.join(path.parent, name)
    try:
        file = _open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            fill(file)
            if durable:
                os.fsync(file)
        finally:
            os.close(file)
        yield temporary
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # it has gone to its place, or never came to be
            os.unlink(temporary)


def _open(name: str, flags: int) -> int:
    try:
        return os.open(name, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(name), exist_ok=True)
        return os.open(name, flags, 0o666)


def _replace_if_absent(temporary: str, path: Path) -> bool:
    """Do the same where a file system has no links; a kill right here leaves an empty file."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        return False
    os.replace(temporary, path)
    return True


def _refusal(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} could not be written: {error.strerror}. "
        "Make room or choose another folder with --storage."
    )


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _copy(source: int, target: int) -> None:
    while block := os.read(source, 1 << 20):
        _write_all(target, block)
