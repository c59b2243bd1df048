"""Repetitions of every contender, interleaved, so that noise hits all of them alike."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.contenders import LARGE, SLOW, Contender
from bench.figures import Figure
from bench.process import Ended, run_timed
from bench.task import Task, Work

TIMEOUT_S = 180.0
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How often and how large: ``repeats`` a cell, ``unused_repeats`` where 10 ms must show."""

    repeats: int = 3
    unused_repeats: int = 25
    large: int = LARGE
    slow: tuple[int, ...] = SLOW["noop"]

    def sizes(self, contender: Contender, work: Work) -> tuple[int, ...]:
        """Return the sizes that a contender gets; empty where it takes no part in the work."""
        sizes = contender.sizes.get(work, ())
        if sizes == SLOW.get(work):
            return self.slow
        return tuple(min(size, self.large) for size in sizes)


QUICK = Effort(repeats=1, unused_repeats=5, large=2000, slow=(2, 4))


def measure(
    contenders: Sequence[Contender],
    work: Work,
    effort: Effort,
    tell: Callable[[str], None],
    *,
    place: Path,
) -> list[Figure]:
    """Time each contender at each of its sizes; one that fails is not tried again.

    What they write stays in ``place``: ext4 looks at every inode that was given up in the last
    minutes before it makes a file, so to clean up here would slow down whoever comes next.
    Every second round goes backwards, so that nobody always runs in the wake of the same one.
    """
    cells = [
        (contender, Figure(contender=contender.name, work=work, runs=runs))
        for contender in contenders
        for runs in effort.sizes(contender, work)
    ]
    rounds = effort.unused_repeats if work == "unused" else effort.repeats
    for number in range(rounds):
        order = range(len(cells)) if number % 2 == 0 else reversed(range(len(cells)))
        for index in order:
            contender, figure = cells[index]
            if figure.failure is None:
                tell(f"{work} {number + 1}/{rounds}: {contender.title}, {figure.runs} runs")
                cells[index] = (contender, _once(contender, figure, place))
    return [figure for _, figure in cells]


def _once(contender: Contender, figure: Figure, place: Path) -> Figure:
    if absent := contender.missing(figure.work):
        return replace(figure, failure=absent)
    folder = Path(tempfile.mkdtemp(prefix=f"{contender.name}-", dir=place))
    task = Task(work=figure.work, runs=figure.runs, folder=folder)
    command = contender.command(task)
    ended = run_timed(command, folder=folder, environment=_environment(), timeout_s=TIMEOUT_S)
    if failure := _failure(ended, task):
        return replace(figure, failure=failure, walls_s=())
    return _with_witness(replace(figure, walls_s=(*figure.walls_s, ended.wall_s)), folder)


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "HYDRA_"))}
    quiet = {
        # One thread each: two at a time on two cores would else fight, and time the scheduler.
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
    }
    paths = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, **quiet, "PYTHONPATH": os.pathsep.join(paths)}


def _failure(ended: Ended, task: Task) -> str | None:
    """Say why a time does not count: it ran too long, failed, or did less than it was asked."""
    lines = [line for line in ended.output.splitlines() if line.strip()]
    # Of pytest, the line that names the first error says more than the count that comes last.
    named = [line for line in lines if line.startswith(("ERROR ", "FAILED "))]
    last = (named[:1] or lines[-1:] or ["no output"])[0]
    if ended.timed_out:
        return f"killed after {TIMEOUT_S:g} s: {last}"
    if ended.returncode != 0:
        return f"exit code {ended.returncode}: {last}"
    if not (task.folder / "witness.json").exists():
        return None  # No pytest: a contender's own script counts its runs itself.
    done = f"{task.runs} tests collected" if task.work == "collect" else f"{task.runs} passed"
    return None if done in ended.output else f"expected {done!r}, found: {last}"


def _with_witness(figure: Figure, folder: Path) -> Figure:
    path = folder / "witness.json"
    if not path.exists():
        return figure
    seen = json.loads(path.read_text(encoding="utf-8"))
    peaks = [seen["peak_kib"]] if figure.peak_kib is None else [seen["peak_kib"], figure.peak_kib]
    return replace(figure, peak_kib=min(peaks), sdks=tuple(seen["sdks"]))
