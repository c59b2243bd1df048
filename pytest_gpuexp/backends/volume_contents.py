"""What sessions have left on the results volume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pytest_gpuexp.backends.in_container import LUGGAGE, SPOOL


def listing(entries: Iterable[Any]) -> str:
    """Return an experiment a line, of the ``modal.volume.FileEntry`` of all files on the volume."""
    files: dict[str, list[str]] = defaultdict(list)
    sizes: dict[str, int] = defaultdict(int)
    for entry in entries:
        experiment, name = _place(entry.path)
        if experiment and entry.type == 1:  # a file, no folder
            files[experiment].append(name)
            sizes[experiment] += entry.size
    lines = [
        f"{experiment}  {_holds(names)}  {sizes[experiment] / 1e6:.1f} MB"
        for experiment, names in sorted(files.items())
    ]
    return "\n".join(lines) or (
        "no results on the volume yet. Sessions keep theirs where --storage says; on the volume "
        "lies what was too large to come back with a reply."
    )


def stale(entries: Iterable[Any], *, before: float) -> tuple[list[str], int]:
    """Return what may go of a volume, and how many bytes that is.

    Those are files that sessions have sent ahead or were to fetch, unchanged since ``before``, in
    Unix seconds; a folder in which all may go stands for what is in it.
    """
    files = [one for one in entries if one.type == 1 and _is_passing(one.path)]
    old = [one for one in files if one.mtime < before]
    kept = {parent for one in files if one.mtime >= before for parent in _parents(one.path)}
    names = dict.fromkeys(_highest(one.path, kept) for one in old)
    return list(names), sum(one.size for one in old)


def _is_passing(path: str) -> bool:
    return path.strip("/").partition("/")[0] in (LUGGAGE, SPOOL)


def _parents(path: str) -> list[str]:
    """Return the folders that ``path`` lies in, the outermost first, but for the root."""
    parts = path.strip("/").split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]


def _highest(path: str, kept: set[str]) -> str:
    return next((one for one in _parents(path) if one not in kept), path.strip("/"))


def _place(path: str) -> tuple[str, str]:
    """Return the experiment that ``path`` belongs to and its name there, both "" where to none."""
    parts = path.strip("/").split("/")
    if parts[0] == SPOOL:
        parts = parts[2:]  # less the scope of the session's storage
    if len(parts) < 2 or parts[0].startswith("."):  # what sessions have sent ahead is no result
        return "", ""
    return parts[0], "/".join(parts[1:])


def _holds(names: Iterable[str]) -> str:
    names = list(names)
    records = sum(name.startswith("records/") for name in names)
    told = ["results.yaml"] if "results.yaml" in names else []
    told += [f"{records} record{'s' if records > 1 else ''}"] if records else []
    artifacts = len(names) - records - ("results.yaml" in names)
    told += [f"{artifacts} file{'s' if artifacts > 1 else ''} of runs"] if artifacts else []
    return ", ".join(told)
