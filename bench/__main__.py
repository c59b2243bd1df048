"""The command `python -m bench`: measure, print the tables, and keep the figures if asked."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.contenders import CONTENDERS, NOT_INSTALLED
from bench.figures import Figure, Sheet
from bench.measure import QUICK, Effort, measure
from bench.table import render
from bench.targets import TARGETS
from bench.task import WORKS

STORAGE = "storage"
PACKAGES = [
    "boto3",
    "obstore",
    "pytest",
    "pytest-gpuexp",
    "pytest-xdist",
    "torch",
    "hydra-core",
    "submitit",
    "ray",
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; return 1 where a contender that is installed failed."""
    names = [*WORKS, *(c.name for c in CONTENDERS if c.name not in WORKS), STORAGE]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=names,
        default=[],
        help=f"kinds of work, contenders, or both: {', '.join(names)}",
    )
    parser.add_argument("--quick", action="store_true", help="one repetition, smaller sizes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every figure in FILE")
    asked = parser.parse_args(arguments)

    if asked.only == [STORAGE]:
        print(_storage(quick=asked.quick))
        return 0
    works = [work for work in WORKS if work in asked.only] or list(WORKS)
    contenders = [c for c in CONTENDERS if c.name in asked.only] or list(CONTENDERS)
    effort = QUICK if asked.quick else Effort()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as place:
        for work in works:
            figures += measure(contenders, work, effort, _tell, place=Path(place))
    sheet = Sheet(figures=figures)
    if asked.json:
        asked.json.write_text(json.dumps(_document(sheet), indent=1) + "\n", encoding="utf-8")
    print(_heading(effort))
    print(render(sheet, contenders, works))
    if not asked.only or STORAGE in asked.only:
        print(f"\n{_storage(quick=asked.quick)}")
    broken = [f for f in figures if f.failure and not f.failure.startswith(NOT_INSTALLED)]
    return 1 if broken else 0


def _storage(*, quick: bool) -> str:
    # boto3 and a server: only where they are asked for.
    from bench import publishing, storage

    size = storage.Size(small=200, large_bytes=64 << 20) if quick else storage.Size()
    rounds = 1 if quick else 3
    return f"{storage.run(size, rounds=rounds)}\n{publishing.run(rounds=rounds)}"


def _tell(line: str) -> None:
    print(f"[{os.getloadavg()[0]:.1f}] {line}", file=sys.stderr, flush=True)


def _machine() -> dict[str, Any]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load": os.getloadavg(),
        "versions": versions,
    }


def _document(sheet: Sheet) -> dict[str, Any]:
    judged = []
    for target in TARGETS:
        value = target.measure(sheet)
        judged.append(
            {
                "claim": target.named(sheet),
                "target": target.wanted(),
                "measured": value,
                "met": target.met(value),
            }
        )
    return {
        "machine": _machine(),
        "figures": [asdict(figure) for figure in sheet.figures],
        "targets": judged,
    }


def _heading(effort: Effort) -> str:
    machine = _machine()
    return (
        f"{machine['cores']} cores, Python {machine['python']}, load {machine['load'][0]:.1f}; "
        f"best of {effort.repeats} (unused: {effort.unused_repeats}), interleaved; "
        "'~' is reckoned from two smaller sizes\n"
    )


if __name__ == "__main__":
    sys.exit(main())
