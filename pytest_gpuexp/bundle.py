"""The project's files as one archive, named after what is in it."""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_gpuexp.errors import GpuexpError

MAX_FILE_BYTES = 10 << 20
MAX_BYTES = 100 << 20
_NAMED_LARGEST = 10
_GIT_SECONDS = 30.0
# Never sent, whatever git says: secrets, and what others would take for their own.
_SECRET_NAMES = (
    ".env*", "*.env", ".netrc", ".git-credentials", "kaggle.json",
    ".pypirc", ".modal.toml", ".git", ".gpuexp", "*.pem", "*.key", "*.p12",
    "*.pfx", "*.keystore", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "credentials",
    "credentials.json", "service-account*.json", "secrets.*",
)  # fmt: skip
# Where there is no git to say what is not the project's.
_NOISE = (
    "__pycache__", "*.pyc", ".venv", "venv", "node_modules", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", ".tox", "*.egg-info", ".hypothesis", "wandb", ".coverage*", "build", "dist",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A project's files, ready to travel.

    ``digest`` is the sha256 (hex) over names, modes and contents, so the same files give the same
    one anywhere. ``left`` are the files that stay at home for their size, with their bytes.
    """

    digest: str
    archive: bytes
    names: Sequence[str]
    left: Mapping[str, int]


class BundleTooLarge(GpuexpError):
    """The project's files are too many bytes to send with a session."""


def make_bundle(
    root: Path,
    *,
    without: Iterable[Path] = (),
    exclude: Sequence[str] = (),
    max_file_bytes: int = MAX_FILE_BYTES,
    max_bytes: int = MAX_BYTES,
) -> Bundle:
    """Return the bundle of the project at ``root``: what git tracks or would, else all but noise.

    ``without`` are folders that stay at home, as that of the results; ``exclude`` patterns over
    names relative to ``root``, as ``data/*``. Secrets (``.env*``, keys) and links that lead out of
    the project never travel; neither do files above ``max_file_bytes``.

    Raises:
        BundleTooLarge: what is left is above ``max_bytes``; the error names the largest files.
    """
    outside = [os.path.relpath(folder, root) for folder in without]
    sizes: dict[str, int] = {}
    left: dict[str, int] = {}
    for name in sorted(set(_listed(root))):
        if _stays(name, outside, exclude) or not _is_inside(root, name):
            continue
        target = (root / name).resolve().relative_to(root.resolve()).as_posix()
        if _stays(target, outside, exclude):  # a link to a secret
            continue
        size = (root / name).stat().st_size
        (left if size > max_file_bytes else sizes)[name] = size
    if sum(sizes.values()) > max_bytes:
        raise BundleTooLarge(_too_large(sizes, max_bytes))
    return _pack(root, list(sizes), left)


def unpack(archive: bytes, folder: Path) -> None:
    """Put the files of a bundle under ``folder``, which is there once they are all in place.

    Raises:
        tarfile.TarError: a name leads out of ``folder``, or this is no archive.
    """
    if folder.exists():
        return
    beside = folder.with_name(f"{folder.name}.{os.getpid()}")
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        tar.extractall(beside, filter="data")
    try:
        beside.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was faster
            raise


def _listed(root: Path) -> Iterator[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(
            command, cwd=root, capture_output=True, timeout=_GIT_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:  # no git here, or no repository
        if any((folder / ".git").exists() for folder in (root, *root.parents)):
            raise GpuexpError(
                f"git cannot say which files of {root} are the project's, and what it ignores must "
                f"not travel: {_said(error)}. Mend that with: git status"
            ) from None
        yield from _walk(root)
        return
    for name in os.fsdecode(listing).split("\0"):
        if name and os.path.lexists(root / name):  # tracked, and deleted since, are none
            yield name


def _said(error: Exception) -> str:
    return (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip() or str(error)


def _walk(root: Path) -> Iterator[str]:
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if not _matches(name, _NOISE)]
        for name in files:
            if not _matches(name, _NOISE):
                yield os.path.relpath(os.path.join(folder, name), root)


def _stays(name: str, outside: Sequence[str], exclude: Sequence[str]) -> bool:
    if any(name == folder or name.startswith(f"{folder}/") for folder in outside):
        return True
    if any(_matches(part, _SECRET_NAMES) for part in name.split("/")):
        return True
    return _matches(name, exclude)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _is_inside(root: Path, name: str) -> bool:
    """Return whether ``name`` is a file whose bytes lie in the project, links followed."""
    path = root / name
    return path.is_file() and path.resolve().is_relative_to(root.resolve())


def _pack(root: Path, names: Sequence[str], left: Mapping[str, int]) -> Bundle:
    digest = hashlib.sha256()
    buffer = io.BytesIO()
    # Neither times nor owners: the same files are the same archive on every machine.
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in names:
            content = (root / name).read_bytes()
            executable = (root / name).stat().st_mode & stat.S_IXUSR
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if executable else 0o644
            tar.addfile(entry, io.BytesIO(content))
            digest.update(f"{name}\0{entry.mode}\0{len(content)}\0".encode("utf-8", "replace"))
            digest.update(content)
    return Bundle(
        digest=digest.hexdigest(), archive=buffer.getvalue(), names=tuple(names), left=dict(left)
    )


def _too_large(sizes: Mapping[str, int], max_bytes: int) -> str:
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:_NAMED_LARGEST]
    told = ", ".join(f"{name} ({size / 1e6:.1f} MB)" for name, size in largest)
    return (
        f"the project's files are {sum(sizes.values()) / 1e6:.1f} MB, and at most "
        f"{max_bytes / 1e6:.0f} MB travel with a session. The largest are {told}. Have git ignore "
        "what is data, or name it in exclude under [tool.gpuexp.modal] of pyproject.toml."
    )
