"""What sessions have left on the results volume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from pytest_gpuexp.backends.in_container import LUGGAGE, SPOOL

_ATTEMPT = len(("spool", "scope", "experiment", "runs", "run", "attempt"))


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


def remove_stale(
    entries: Callable[[str], Iterable[Any]], remove: Callable[[str], object], *, before: float
) -> int:
    """Remove what may go of a volume; return how many bytes those were.

    Those are files that sessions have sent ahead or were to fetch, unchanged since ``before``, in
    Unix seconds. ``entries`` gives what is below a folder, however deep, or the one file of that
    name; "" is the root. ``remove`` takes a file or a folder away.
    """
    # The whole listing may take minutes, in which sessions go on to send: each is looked at again.
    return sum(_removed(name, entries, remove, before) for name in _stale(entries(""), before))


def _stale(entries: Iterable[Any], before: float) -> list[str]:
    """Return the names that may go; an attempt's folder in which all may go stands for it."""
    files = [one for one in entries if one.type == 1 and _is_passing(one.path)]
    kept = {_attempt(one.path) for one in files if one.mtime >= before}
    old = [one.path.strip("/") for one in files if one.mtime < before]
    attempts = {path: _attempt(path) for path in old}
    return list(dict.fromkeys(path if it in kept else it for path, it in attempts.items()))


def _removed(
    name: str,
    entries: Callable[[str], Iterable[Any]],
    remove: Callable[[str], object],
    before: float,
) -> int:
    files = [one for one in entries(name) if one.type == 1]
    if not files or any(one.mtime >= before for one in files):
        return 0
    try:
        remove(name)
    except FileNotFoundError:
        return 0
    return sum(one.size for one in files)


def _is_passing(path: str) -> bool:
    return path.strip("/").partition("/")[0] in (LUGGAGE, SPOOL)


def _attempt(path: str) -> str:
    """Return the folder of the attempt that ``path`` is of, else ``path`` itself.

    Nothing above it is ever removed as one: others send into ``spool``, and what is below it.
    """
    parts = path.strip("/").split("/")
    return "/".join(parts[:_ATTEMPT] if parts[0] == SPOOL else parts)


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
