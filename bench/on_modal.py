"""What a run on Modal costs beside bare calls: ``python -m bench.on_modal [--quick]``.

All against the tests' own Modal server on this machine, whose containers share its cores with the
server and the client: ratios say something, seconds little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.modal_shares import PARTS, Shares
from pytest_gpuexp import documents, moments
from tests.modal_server import starting

PYPROJECT = """
[project]
name = "bench"
version = "1"
[tool.gpuexp.modal]
secrets = []
"""
EXPERIMENT = """
import time
{imports}
from pytest_gpuexp import experiment, seeds
pytestmark = experiment({name!r})
@seeds(1)
def exp_one(runner, seed):
    {body}
    runner.log_metrics({{"x": 1.0}})
    assert seed >= 0
"""
_AT_ONCE = 64


def main() -> int:
    """Measure, and print one table after the other."""
    parser = argparse.ArgumentParser(prog="python -m bench.on_modal", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--containers", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--only", choices=("calls", "torch", "sleeps"), help="one table alone")
    asked = parser.parse_args()
    tables = {"calls": _calls, "torch": _torch, "sleeps": _sleeps}
    with (
        tempfile.TemporaryDirectory(prefix="gpuexp-bench-") as name,
        starting.modal_server(max_containers=asked.containers) as server,
    ):
        bench = _Bench(Path(name), server)
        bench.deploy()
        for table, measure in tables.items():
            if asked.only in (None, table):
                measure(bench, quick=asked.quick)
    return 0


def _calls(bench: _Bench, *, quick: bool) -> None:
    """Many runs that do nothing, beside calls that do nothing."""
    counts = (20, 50) if quick else (200, 1000)
    bench.bare("gather", counts[0])
    found = {how: [bench.bare(how, count) for count in counts] for how in ("map", "gather")}
    # The server makes room for these containers by letting those go.
    cold = bench.ours("noop", counts[0])
    found["pytest-gpuexp"] = [bench.ours("noop", count) for count in counts]
    print(f"{'work':<28}{'seconds':>9}{'over gather':>13}{'memory, MB':>12}")
    print(f"{f'{counts[0]} pytest-gpuexp, cold':<28}{cold.seconds:>9.2f}")
    for at, count in enumerate(counts):
        limit = found["gather"][at].seconds
        for label, took in found.items():
            seconds, peak = took[at].seconds, took[at].peak_mb
            told = f"{peak:>12.1f}" if peak else ""
            print(f"{f'{count} {label}':<28}{seconds:>9.2f}{seconds / limit:>13.2f}{told}")
    print(f"\n{'ms a further run':<20}{'wall':>8}{'CPU':>8}" + "".join(f"{p:>10}" for p in PARTS))
    for label, (few, many) in found.items():
        runs = (counts[1] - counts[0]) / 1000
        shares = {part: (many.cpu[part] - few.cpu[part]) / runs for part in PARTS}
        wall = (many.seconds - few.seconds) / runs
        told = "".join(f"{one:>10.1f}" for one in shares.values())
        print(f"{label:<20}{wall:>8.1f}{sum(shares.values()):>8.1f}{told}")


def _torch(bench: _Bench, *, quick: bool) -> None:
    """One run after the other in a warm container, with torch in the module."""
    more = 5 if quick else 20
    cold, one, many = (
        bench.ours(
            "torch", count, imports="import torch", body="torch.zeros(1) + 1", at_once=1
        ).seconds
        for count in (1, 1, 1 + more)
    )
    bare = (bench.bare("one", 1 + more).seconds - bench.bare("one", 1).seconds) / more
    ours = (many - one) / more
    print(f"\n{'1 torch run, cold':<28}{cold:>9.2f}\n{'the same, warm':<28}{one:>9.2f}")
    print(
        f"{'a further torch run':<28}{1000 * ours:>9.1f} ms, {1000 * (ours - bare):.1f} ms over "
        f"a bare call of {1000 * bare:.1f} ms"
    )


def _sleeps(bench: _Bench, *, quick: bool) -> None:
    """Runs that sleep, as many at once as there are containers."""
    runs, at_once = (12, 4) if quick else (300, 50)
    bench.server.scale(at_once)
    print()
    # Of fifty containers some come too late for the first session to have any run for them.
    for label in ("cold", "half warm", "warm"):
        took = bench.ours("sleep", runs, body="time.sleep(1)", at_once=at_once)
        ideal, span = runs / at_once, bench.span("sleep")
        told = f"{runs} sleeps of 1 s, {label}"
        print(
            f"{told:<28}{took.seconds:>9.2f}  from the first run's start to the last one's end "
            f"{span:.2f}: {span / ideal:.2f}x of the ideal {ideal:.0f} s; CPU "
            + ", ".join(f"{part} {seconds:.1f}" for part, seconds in took.cpu.items())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Took:
    seconds: float
    cpu: Mapping[str, float]
    peak_mb: float = 0.0


class _Bench:
    def __init__(self, folder: Path, server: starting.ModalServer) -> None:
        self.server = server
        here = str(Path(__file__).parents[1])
        self._environ = {**os.environ, **server.environ, "PYTHONPATH": here}
        # Beside the project: what changes in it is code that changed, and a snapshot anew.
        self._notes = folder / "notes"
        self._folder = folder / "project"
        for each in (self._notes, self._folder):
            each.mkdir()
        (self._folder / "pyproject.toml").write_text(PYPROJECT)

    def deploy(self) -> None:
        for module in ("pytest_gpuexp.backends.modal_app", "bench.modal_bare"):
            self._run("-m", "modal", "deploy", "-m", module)

    def bare(self, how: str, count: int) -> _Took:
        shares = Shares(self.server, self.server.pid)
        said = self._run("-m", "bench.modal_gather", how, str(count))
        return _Took(seconds=float(said.splitlines()[-1]), cpu=shares.taken())

    def ours(
        self,
        name: str,
        runs: int,
        *,
        imports: str = "",
        body: str = "pass",
        at_once: int = _AT_ONCE,
    ) -> _Took:
        """Run a session of ``runs``; its start and end, some 2 s of CPU, are counted."""
        source = EXPERIMENT.format(name=name, imports=imports, body=body)
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        (folder / f"exp_{name}.py").write_text(source)
        note = self._notes / "peak.json"
        words = [str(Path(__file__).with_name("witness.py")), str(note), "-q", str(folder)]
        shares, began = Shares(self.server, self.server.pid), time.perf_counter()
        # By option: a number in the file would be an edit, and every snapshot begin anew.
        options = ("--backend=modal", f"--seeds={runs}", f"--parallelism={at_once}")
        self._run(*words, "-p", "no:cacheprovider", *options)
        seconds, peak = time.perf_counter() - began, json.loads(note.read_text())["peak_kib"]
        return _Took(seconds=seconds, cpu=shares.taken(), peak_mb=peak / 1024)

    def span(self, name: str) -> float:
        """Return seconds from the first start to the last end of the newest attempts."""
        newest: dict[str, tuple[int, float, float]] = {}
        for path in (self._folder / f"results/{name}/records").glob("*.yaml"):
            run_id, number = path.stem.rsplit(".", 1)
            result = documents.read_record(path.read_bytes())
            began = moments.seconds(result.started_at, default=0.0)
            ended = moments.seconds(result.completed_at, default=0.0)
            newest[run_id] = max(newest.get(run_id, (0, 0.0, 0.0)), (int(number), began, ended))
        began = min(began for _, began, _ in newest.values())
        return max(ended for _, _, ended in newest.values()) - began

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{words} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout


if __name__ == "__main__":
    sys.exit(main())
