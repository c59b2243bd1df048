"""Runs whole sessions of pytest on experiments, and reads what they leave."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A session that has ended: its exit code, what it printed, and the folder it ran in."""

    code: int
    text: str
    folder: Path

    def records(self, name: str) -> list[dict[str, Any]]:
        """Return the records of the run called ``name``, oldest attempt first."""
        found = [yaml.load(path.read_bytes(), yaml.CSafeLoader) for path in self.record_files()]
        return sorted(
            (record for record in found if record["name"] == name),
            key=lambda record: int(record["attempt"]),
        )

    def record(self, name: str) -> dict[str, Any]:
        """Return the newest record of the run called ``name``."""
        records = self.records(name)
        assert records, f"no record of {name} after:\n{self.text[-4000:]}"
        return records[-1]

    def record_files(self) -> list[Path]:
        """Return every record's file."""
        return sorted(self.folder.glob("results/*/records/*.yaml"))

    def run_folder(self, name: str) -> Path:
        """Return the folder of the newest attempt of ``name``."""
        record = self.record(name)
        runs = self.folder / "results" / str(record["experiment_id"]) / "runs"
        return runs / str(record["run_id"]) / str(record["attempt"])

    def log(self, name: str) -> str:
        """Return what the newest attempt of ``name`` has written to its log."""
        return (self.run_folder(name) / "log.txt").read_text()


def write(folder: Path, **sources: str) -> Path:
    """Write each source as ``<name>.py``, ``tox`` as ``tox.ini``, and return ``folder``."""
    for name, source in sources.items():
        file = folder / ("tox.ini" if name == "tox" else f"{name}.py")
        file.write_text(textwrap.dedent(source))
    return folder


def words(*arguments: str, cache: bool = False) -> list[str]:
    """Return the command of a session that is given ``arguments``; ``cache`` is what --lf needs."""
    caching = [] if cache else ["-p", "no:cacheprovider"]
    return [sys.executable, "-m", "pytest", *caching, "-rA", *arguments]


def environment(**changes: str | None) -> dict[str, str]:
    """Return this process's environment with ``changes``; None takes a variable away.

    GPUs of the machine are hidden: what a test says of them is the same everywhere.
    """
    # Where xdist runs this suite, a session of ours must not pass for one of its workers.
    around = {key: text for key, text in os.environ.items() if not key.startswith("PYTEST_XDIST")}
    merged = {**around, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200", **changes}
    return {name: value for name, value in merged.items() if value is not None}


def alone(arguments: Sequence[str]) -> dict[str, str]:
    """Return what keeps other people's plugins, which cost half of a session, out of it.

    xdist is there where ``arguments`` ask for it. That pytest finds us by itself the docs show,
    whose pages are executed as their readers would.
    """
    xdist = ["xdist.plugin"] if any(word.startswith(("-n", "--dist")) for word in arguments) else []
    return {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_PLUGINS": ",".join(["pytest_gpuexp.plugin", *xdist]),
    }


EVERYBODY: Mapping[str, str | None] = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": None,
    "PYTEST_PLUGINS": None,
}
"""Changes for a session that finds all plugins by itself, as a user's does."""


def run(
    folder: Path,
    *arguments: str,
    changes: Mapping[str, str | None] | None = None,
    cache: bool = False,
) -> Ended:
    """Run pytest with ``arguments`` in ``folder``, with ``changes`` of the environment."""
    done = subprocess.run(
        words(*arguments, cache=cache),
        cwd=folder,
        env=environment(**{**alone(arguments), **(changes or {})}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_SECONDS,
        check=False,
    )
    return Ended(code=done.returncode, text=done.stdout.decode(errors="replace"), folder=folder)


@contextmanager
def started(
    folder: Path, *arguments: str, changes: Mapping[str, str | None] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start pytest with ``arguments`` in ``folder``; it is killed where it has not ended."""
    process = subprocess.Popen(
        words(*arguments),
        cwd=folder,
        env=environment(**{**alone(arguments), **(changes or {})}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ending(process: subprocess.Popen[bytes], folder: Path) -> Ended:
    """Wait for a session that was ``started`` in ``folder``."""
    text, _ = process.communicate(timeout=_SECONDS)
    return Ended(code=process.returncode, text=text.decode(errors="replace"), folder=folder)


def ran(folder: Path) -> list[str]:
    """Return the lines of ``ran.txt``, where handlers say that they run, since the last call."""
    file = folder / "ran.txt"
    found = sorted(file.read_text().split()) if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def until(condition: Callable[[], bool]) -> None:
    """Return as soon as ``condition`` holds, and fail where it takes far too long."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.01)
