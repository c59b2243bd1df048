"""The files that a run publishes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.records import Artifact


class ResultsWriter:
    """Takes artifacts into one attempt's folder; ``runner.results``."""

    def __init__(self, folder: Path) -> None:
        """Keep artifacts in ``folder/artifacts``, made with the first one."""
        self._folder = folder / "artifacts"

    def get_artifact_path(self, name: str) -> Path:
        """Return where to write the artifact ``name`` (``"plots/tsne.png"``); its folder exists.

        Raises:
            GpuexpError: ``name`` is absolute or climbs out of the folder.
        """
        if _leads_out(name):
            raise GpuexpError(
                f"artifact name {name!r} leads out of the run's folder. "
                "Use a relative name such as 'plots/tsne.png'."
            )
        path = self._folder / name
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise GpuexpError(
                f"artifact name {name!r} leads out of the run's folder through a link. "
                "Use a name of its own."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save_artifact(self, name: str, data: bytes | str) -> str:
        """Write ``data`` (text as UTF-8) as ``name``; return what ``artifacts`` takes."""
        if not isinstance(data, (bytes, bytearray, memoryview, str)):
            raise GpuexpError(
                f"artifact {name!r}: a {type(data).__name__} is neither bytes nor text. "
                "Use save_json_artifact for data, or write to get_artifact_path(name)."
            )
        content = data.encode() if isinstance(data, str) else bytes(data)
        path = self.get_artifact_path(name)
        temporary = path.with_name(f".writing-{path.name}")
        temporary.write_bytes(content)
        os.replace(temporary, path)
        return f"artifacts/{PurePosixPath(name)}"

    def save_json_artifact(self, name: str, data: Any) -> str:
        """Write ``data`` as indented JSON; numpy and torch values become numbers and lists."""
        text = json.dumps(data, indent=2, ensure_ascii=False, default=_as_json)
        return self.save_artifact(name, text + "\n")

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return those of ``names``, as a handler returns them, that are no file of this run."""
        return [name for name in names if self._find(name) is None]

    def saved(self) -> tuple[Artifact, ...]:
        """Return every file of the run's artifacts with its sha256, by name.

        A link to a file that is not the run's own is none of them.
        """
        if not self._folder.is_dir():
            return ()
        whole = self._folder.resolve()
        files = sorted(
            path
            for path in self._folder.rglob("*")
            if path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(whole))
        )
        return tuple(
            _describe(path, path.relative_to(self._folder).as_posix())
            for path in files
            if not path.name.startswith(".writing-")
        )

    def _find(self, name: str) -> Path | None:
        for candidate in (self._folder.parent / name, self._folder / name):
            if candidate.is_file() and candidate.resolve().is_relative_to(self._folder.resolve()):
                return candidate
        return None


def _leads_out(name: str) -> bool:
    """Return whether ``name`` would, on any system: results travel from one to the other."""
    windows = PureWindowsPath(name)
    return (
        not windows.parts  # "" and "."
        or bool(windows.anchor)  # "/a" there too
        or ".." in windows.parts
        or "\0" in name
    )


def _describe(path: Path, name: str) -> Artifact:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Artifact(name=name, sha256=digest, bytes=os.fstat(file.fileno()).st_size)


def _as_json(value: Any) -> Any:
    for attribute in ("tolist", "item"):
        if callable(getattr(value, attribute, None)):
            return getattr(value, attribute)()
    if hasattr(value, "__fspath__"):
        return os.fspath(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(
        f"a {type(value).__name__} has no JSON form; turn it into numbers, text, lists or dicts"
    )
