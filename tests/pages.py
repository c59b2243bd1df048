"""Reads the pages of the documentation, and executes their code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"# ([\w./-]+\.(?:py|ini|toml|yaml))\n")
_SECONDS = 300
_ANY = "..."
_RULE = re.compile(r"([=_-])\1{2,}")
_DECIMAL = re.compile(r"\d+\.\d+(e-?\d+)?")
_COUNTER = re.compile(r"\[ *\d+/\d+\]$")
_HEARTBEAT = re.compile(r"gpuexp: .* elapsed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its language, its text, and the line at which the text begins."""

    language: str
    text: str
    line: int

    @property
    def title(self) -> str | None:
        """The file that the block is, where its first line names one: ``# exp_x.py``."""
        match = _TITLE.match(self.text)
        return match[1] if match else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A line after ``$ `` and what is shown below it."""

    words: str
    shown: str
    line: int


class PageWrong(AssertionError):
    """What a page says is not what happens."""


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [
        Block(
            language=match[1],
            text=match[2],
            line=text.count("\n", 0, match.start(2)) + 1,
        )
        for match in _FENCE.finditer(text)
    ]


def commands(block: Block) -> list[Command]:
    """Return the commands of a ``console`` block; one that ends in a backslash goes on below."""
    found: list[Command] = []
    for offset, line in enumerate(block.text.splitlines()):
        last = found[-1] if found else None
        if line.startswith("$ "):
            found.append(Command(words=line[2:], shown="", line=block.line + offset))
        elif last is None:
            raise PageWrong(f"line {block.line + offset}: a console block begins with '$ '")
        elif last.words.endswith("\\") and not last.shown:
            found[-1] = Command(words=f"{last.words}\n{line}", shown="", line=last.line)
        else:
            found[-1] = Command(words=last.words, shown=f"{last.shown}{line}\n", line=last.line)
    return found


def execute(text: str, folder: Path) -> None:
    """Do in ``folder`` what a reader of the page does, block by block.

    A block that names a file is written to it; other Python is run as a script; the commands of
    ``console`` blocks are run and their output compared. All other blocks are only read.

    Raises:
        PageWrong: a script or a command fails, or shows something else.
    """
    code = 0
    for block in blocks(text):
        if block.language in ("python", "ini", "toml", "yaml") and block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "python":
            ended = run([sys.executable, "-c", block.text], folder)
            if ended.returncode:
                raise PageWrong(f"line {block.line}: the script fails:\n{ended.stdout}")
        elif block.language == "console":
            for command in commands(block):
                code = _check(command, folder, code)


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``words`` in ``folder``, as on a terminal of 100 columns without colours or GPUs."""
    return subprocess.run(
        words,
        cwd=folder,
        env=environment(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
    )


def environment(around: Mapping[str, str]) -> dict[str, str]:
    """Return ``around`` without what would change what a page shows."""
    kept = {
        name: value
        for name, value in around.items()
        if not name.startswith(("PYTEST_", "PY_COLORS", "FORCE_COLOR"))
        and name not in ("CI", "BUILD_NUMBER", "PYTHONDONTWRITEBYTECODE")
    }
    # What is installed beside us takes its time in each session, and shows nothing here.
    options = "-p no:hydra_pytest -p no:hypothesispytest"
    path = os.pathsep.join([str(Path(sys.executable).parent), around.get("PATH", "")])
    fixed = {"COLUMNS": "100", "CUDA_VISIBLE_DEVICES": "", "NO_COLOR": "1"}
    return {**kept, **fixed, "PATH": path, "PYTEST_ADDOPTS": options}


def _check(command: Command, folder: Path, code: int) -> int:
    # In a shell of its own each, so that `echo $?` must be told what came before.
    ended = run(["bash", "-c", f"(exit {code})\n{command.words}"], folder)
    if not command.shown and ended.returncode:
        raise PageWrong(f"line {command.line}: $ {command.words}\n{ended.stdout}")
    if command.shown and not shows(command.shown, ended.stdout):
        raise PageWrong(
            f"line {command.line}: $ {command.words}\n--- the page shows\n{command.shown}"
            f"--- it printed\n{ended.stdout}"
        )
    return ended.returncode


def shows(expected: str, actual: str) -> bool:
    """Return whether ``actual`` reads like ``expected``.

    A line ``...`` stands for any lines, ``...`` within a line for any text of it. A decimal stands
    for any decimal, since times and even means differ between machines; whole numbers and words
    must be the same. Blanks, rules (``===``), empty lines, heartbeats and the order in which runs
    end do not count.
    """
    wanted = [None if line == _ANY else _pattern(line) for line in _lines(expected)]
    return _matches(wanted, _lines(actual))


def _lines(text: str) -> list[str]:
    """Return the lines of ``text`` that count, those of runs in alphabetical order."""
    lines: list[str] = []
    runs: list[str] = []
    for line in [*text.splitlines(), "="]:
        run, counters = _COUNTER.subn("", line)
        plain = " ".join(_RULE.sub(" --- ", _DECIMAL.sub("0.0", run)).split())
        if counters:
            runs.append(plain)
        elif plain and not _HEARTBEAT.match(plain):
            lines += [*sorted(runs), plain]
            runs = []
    return lines[:-1]


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in line.split(_ANY)))


def _matches(wanted: Sequence[re.Pattern[str] | None], lines: Sequence[str]) -> bool:
    reached = {0}  # how many of the lines can be used up by what of ``wanted`` has been read
    for pattern in wanted:
        if pattern is None:
            reached = set(range(min(reached), len(lines) + 1)) if reached else set()
        else:
            reached = {n + 1 for n in reached if n < len(lines) and pattern.fullmatch(lines[n])}
    return len(lines) in reached
