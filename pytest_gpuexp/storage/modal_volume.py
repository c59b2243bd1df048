"""A storage that is a volume on Modal."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_gpuexp.errors import StorageError

SCHEME = "modal://"


class ModalVolumeStorage:
    """Keeps files on a volume, which is made with the first look.

    Modal checks on its side that a name is free. It promises no order between two writers that
    begin at the same moment; where sessions on several machines share one place, use a bucket.
    """

    def __init__(self, volume: str, *, prefix: str = "", client: Any = None) -> None:
        """Keep files below ``prefix`` of the volume called ``volume``; nothing is asked yet.

        ``client`` is a ``modal.Client``, None the one of the environment.
        """
        self.url = f"{SCHEME}{volume}" + (f"/{prefix}" if prefix else "")
        self._name = volume
        self._prefix = prefix
        self._client = client
        self._made: Any = None

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Put ``data`` under ``name`` whole, replacing what was there."""
        self._put(io.BytesIO(data), name, force=True)

    def write_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        """Put ``data`` under ``name`` unless it is taken; return whether this call wrote it."""
        try:
            self._put(io.BytesIO(data), name, force=False)
        except FileExistsError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """Return what is under ``name``."""
        with self._told(name):
            return b"".join(self._volume().read_file(self._path(name)))

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names directly below the folder ``prefix``."""
        stem = prefix.rstrip("/")
        try:
            with self._told(prefix):
                entries = self._volume().listdir(f"/{self._path(stem)}" if stem else self._root())
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            name = PurePosixPath(entry.path).name
            yield f"{stem}/{name}" if stem else name

    def exists(self, name: str) -> bool:
        """Return whether there is something under ``name``."""
        folder, _, last = self._path(name).rpartition("/")
        try:
            with self._told(name):
                entries = self._volume().listdir(f"/{folder}")
        except (FileNotFoundError, NotADirectoryError):
            return False
        return any(PurePosixPath(entry.path).name == last for entry in entries)

    def delete(self, name: str) -> None:
        """Remove what is under ``name``, if anything."""
        with contextlib.suppress(FileNotFoundError), self._told(name):
            self._volume().remove_file(self._path(name))

    def upload_file(self, path: Path, name: str) -> None:
        """Put the bytes of ``path`` under ``name``, whole."""
        self._put(path, name, force=True)

    def download_file(self, name: str, path: Path) -> None:
        """Put what is under ``name`` into ``path``, whole."""
        temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
        try:
            with self._told(name):
                blocks = self._volume().read_file(self._path(name))
                with temporary.open("wb") as file:
                    for block in blocks:
                        file.write(block)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def _put(self, source: Path | io.BytesIO, name: str, *, force: bool) -> None:
        target = f"/{self._path(name)}"
        with self._told(name), self._volume().batch_upload(force=force) as batch:
            batch.put_file(source, target)

    def _volume(self) -> Any:
        import modal

        if self._made is None:
            self._made = modal.Volume.from_name(
                self._name, create_if_missing=True, client=self._client
            ).hydrate()
        return self._made

    def _root(self) -> str:
        return f"/{self._prefix}" if self._prefix else "/"

    def _path(self, name: str) -> str:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in name:
            raise StorageError(
                f"{name!r} is not a name below {self.url}. Use a relative name without '..'."
            )
        return f"{self._prefix}/{pure}" if self._prefix else str(pure)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Say what Modal's errors mean.

        Raises:
            FileNotFoundError, FileExistsError, NotADirectoryError: as for a file.
            StorageError: all else.
        """
        import modal.exception

        try:
            yield
        except (FileNotFoundError, FileExistsError, NotADirectoryError):
            raise
        except modal.exception.NotFoundError as error:
            raise FileNotFoundError(f"{self.url}/{name}: {error}") from None
        except (modal.exception.Error, OSError) as error:
            raise StorageError(
                f"{self.url}/{name}: Modal's volume cannot be used: {type(error).__name__}: "
                f"{error}. Look at the token and the network; what has finished stays in the spool."
            ) from error


def split_url(url: str) -> tuple[str, str]:
    """Return volume and prefix of ``modal://volume/prefix``.

    Raises:
        StorageError: it names no volume.
    """
    volume, _, prefix = url.removeprefix(SCHEME).partition("/")
    if not volume:
        raise StorageError(
            f"{url!r} names no volume; write modal://VOLUME or modal://VOLUME/PREFIX"
        )
    return volume, prefix.strip("/")
