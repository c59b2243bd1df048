"""What sessions have left on the results volume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pytest_gpuexp.backends.in_container import SPOOL


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
