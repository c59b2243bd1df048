"""Carries changed files from one folder to another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

Marks = dict[str, tuple[int, int, int]]
"""Inode, size and time of change of each file, by its path below the folder."""


def marks(folder: Path) -> Marks:
    """Return what tells whether a file of ``folder`` was changed since."""
    found: Marks = {}
    for path in _files(folder):
        about = path.lstat()
        found[str(path.relative_to(folder))] = (about.st_ino, about.st_size, about.st_mtime_ns)
    return found


def carry(source: Path, target: Path, before: Marks) -> list[str]:
    """Make ``target`` have what changed in ``source`` since ``before``; return the changed paths.

    A file that was removed from ``source`` is removed from ``target``. Empty folders go along too.
    """
    now = marks(source)
    changed = [name for name, mark in now.items() if before.get(name) != mark]
    gone = [name for name in before if name not in now]
    for name in gone:
        (target / name).unlink(missing_ok=True)
    for name in changed:
        put(source / name, target / name)
    for folder, _, _ in os.walk(source):
        (target / os.path.relpath(folder, source)).mkdir(parents=True, exist_ok=True)
    return changed + gone


def mirror(source: Path, target: Path, *, keep: set[str]) -> None:
    """Make ``target`` equal ``source``, but for the paths in ``keep``."""
    target.mkdir(parents=True, exist_ok=True)
    theirs = {str(path.relative_to(source)) for path in _files(source)}
    for path in list(_files(target)):
        name = str(path.relative_to(target))
        if name not in theirs and name not in keep:
            path.unlink(missing_ok=True)
    for name in theirs - keep:
        if not _same(source / name, target / name):
            put(source / name, target / name)
    for folder, _, _ in os.walk(source):
        (target / os.path.relpath(folder, source)).mkdir(parents=True, exist_ok=True)


def put(source: Path, target: Path) -> None:
    """Copy a file or link, so that a reader sees the old one or the new one and nothing between."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        shutil.copy2(source, partial, follow_symlinks=False)
        partial.replace(target)
    except FileNotFoundError:  # it was removed while it was read: the next commit tells
        partial.unlink(missing_ok=True)


def _same(one: Path, other: Path) -> bool:
    if not os.path.lexists(other) or one.is_symlink() or other.is_symlink():
        return False
    a, b = one.stat(), other.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in (*names, *links):
            yield Path(parent, name)
