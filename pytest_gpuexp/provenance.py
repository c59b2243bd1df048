"""Where a session's results come from: code, machine, packages, command line."""

from __future__ import annotations

import getpass
import hashlib
import importlib.metadata
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pytest_gpuexp.records import Plain

# "tokenizer" and "max_tokens" are hyperparameters.
_SECRET = (
    r"token(?!i[sz]|s)|secret|password|passwd|passphrase|api[-_]?key|access[-_]?key|credential"
)
_NAMED = re.compile(rf"(?i)^([^=]*=)*?([^=]*(?:{_SECRET})[^=]*)=.*$", re.DOTALL)
_IN_URL = re.compile(r"(\w+://(?:[^/@\s:]+:)?)[^/@\s]+@")
_WELL_KNOWN = re.compile(
    r"\b(?:(?:hf|ghp|gho|ghs|github_pat|tid|tsec)_\w{16,}|sk-[\w-]{16,}|(?:ak|as)-\w{20,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16})"
)
_GIT_SECONDS = 10.0


class GitQuery:
    """Asks git beside other work: begun here, waited for in ``answer``."""

    def __init__(self, folder: Path) -> None:
        """Start git's commands in ``folder``; none where git is absent."""
        self._commit = _start(folder, "rev-parse", "HEAD")
        self._patch = _start(folder, "diff", "--binary", "HEAD")

    def answer(self) -> dict[str, Plain]:
        """Return ``commit`` and ``patch_sha256`` (None where the tree is clean); {} outside git."""
        commit = _output(self._commit).decode().strip()
        patch = _output(self._patch)
        if not commit:
            return {}
        digest = hashlib.sha256(patch).hexdigest() if patch else None
        return {"commit": commit, "patch_sha256": digest}


def describe(
    *,
    git: Mapping[str, Plain],
    argv: Sequence[str],
    modules: Mapping[str, types.ModuleType],
    devices: Sequence[str],
) -> dict[str, Plain]:
    """Return the part of every record's provenance that is the same for the whole session.

    ``modules`` are the imported ones, by name; those of the top level that tell a version are
    listed, so the table speaks of what was used and not of all that is installed.
    """
    return {
        "git": dict(git) or None,
        "host": socket.gethostname(),
        "user": _user(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": _versions(modules),
        "devices": list(devices),
        "command_line": shlex.join(redact(argv)),
    }


def versions_here(names: Iterable[str]) -> dict[str, str]:
    """Return the versions that are installed here of the top-level modules ``names``."""
    distributions = importlib.metadata.packages_distributions()
    found: dict[str, str] = {}
    for name in names:
        for distribution in distributions.get(name, ())[:1]:
            found[name] = importlib.metadata.version(distribution)
    return found


def executed_by() -> str:
    """Return ``user@host``, for people."""
    return f"{_user()}@{socket.gethostname()}"


def redact(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` with the values of what looks like a secret replaced by ``***``."""
    shown: list[str] = []
    hide_next = False
    for word in argv:
        shown.append("***" if hide_next else _redact_word(word))
        is_option = word.startswith("-") and "=" not in word
        hide_next = is_option and re.search(_SECRET, word, re.IGNORECASE) is not None
    return shown


def _redact_word(word: str) -> str:
    named = _NAMED.match(word)
    if named:
        return f"{word[: named.end(2)]}=***"
    return _WELL_KNOWN.sub("***", _IN_URL.sub(r"\1***@", word))


def _versions(modules: Mapping[str, types.ModuleType]) -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in sorted(modules):
        if "." in name or name.startswith("_") or name in sys.stdlib_module_names:
            continue
        try:
            version = getattr(modules[name], "__version__", None)
        except Exception:  # noqa: BLE001 (a lazy module may try an import, and do anything)
            continue
        if isinstance(version, str):
            versions[name] = str(version)
    return versions


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's uid without a passwd entry
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def _start(folder: Path, *words: str) -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(
            ["git", "-C", str(folder), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None


def _output(process: subprocess.Popen[bytes] | None) -> bytes:
    if process is None:
        return b""
    try:
        out, _ = process.communicate(timeout=_GIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return b""
    return out if process.returncode == 0 else b""
