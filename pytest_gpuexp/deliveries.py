"""The files of one ended attempt on their way between two machines."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_gpuexp.errors import NameRefused, RecordInvalid, StorageError

INLINE_BYTES = 1 << 20  # of one attempt, in its reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One file: its name in the attempt's folder, its sha256 (hex), and its bytes in base64.

    ``data`` is None for a file that did not go with the reply and is to be fetched.
    """

    name: str
    sha256: str
    data: str | None


def pack(folder: Path, *, inline_bytes: int = INLINE_BYTES) -> tuple[list[Parcel], list[str]]:
    """Return the files of ``folder`` as parcels, and the names of those that must go otherwise.

    The smallest go inline, ``inline_bytes`` in all.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    by_size = sorted((path.stat().st_size, name) for name, path in paths.items())
    parcels: list[Parcel] = []
    large: list[str] = []
    room = inline_bytes
    for size, name in by_size:
        data = paths[name].read_bytes() if size <= room else None
        if data is None:
            with paths[name].open("rb") as file:
                sha = hashlib.file_digest(file, "sha256").hexdigest()
            large.append(name)
        else:
            room -= size
            sha = hashlib.sha256(data).hexdigest()
        text = None if data is None else base64.b64encode(data).decode()
        parcels.append(Parcel(name=name, sha256=sha, data=text))
    return parcels, large


def unpack(
    parcels: Sequence[Parcel], folder: Path, *, fetch: Callable[[str, Path], object]
) -> None:
    """Put every file of ``parcels`` under ``folder``; ``fetch`` brings one that is not inline.

    Raises:
        StorageError: a file is not what was sent.
        NameRefused: its name leads out of ``folder``.
    """
    for parcel in parcels:
        pure = PurePosixPath(parcel.name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise NameRefused(f"a worker sent a file called {parcel.name!r}, which is refused.")
        path = folder / pure
        path.parent.mkdir(parents=True, exist_ok=True)
        if parcel.data is None:
            fetch(parcel.name, path)
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            data = base64.b64decode(parcel.data)
            path.write_bytes(data)
            found = hashlib.sha256(data).hexdigest()
        if found != parcel.sha256:
            path.unlink()
            raise StorageError(
                f"{parcel.name} came with sha256 {found[:12]} and was sent with "
                f"{parcel.sha256[:12]}; it was changed or cut off on its way."
            )


def to_plain(parcels: Sequence[Parcel]) -> list[dict[str, Any]]:
    """Return ``parcels`` as JSON values."""
    return [asdict(parcel) for parcel in parcels]


def from_plain(data: Sequence[Mapping[str, Any]]) -> list[Parcel]:
    """Return the parcels that ``to_plain`` was given.

    Raises:
        RecordInvalid: they are none.
    """
    names = {field.name for field in fields(Parcel)}
    for one in data:
        if set(one) != names or not all(isinstance(one[name], str) for name in ("name", "sha256")):
            raise RecordInvalid("reply of a worker: its files are not described as files.")
    return [Parcel(**one) for one in data]


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder``; those on their way and links are left out."""
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and not path.name.startswith(".writing-"):
                yield path
