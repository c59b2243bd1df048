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
from pathlib import Path

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
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="python -m bench.on_modal", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--containers", type=int, default=2 * (os.cpu_count() or 1))
    asked = parser.parse_args()
    counts = [50] if asked.quick else [200, 1000]
    with (
        tempfile.TemporaryDirectory(prefix="gpuexp-bench-") as name,
        starting.modal_server(max_containers=asked.containers) as server,
    ):
        bench = _Bench(Path(name), {**os.environ, **server.environ})
        bench.deploy()
        print(f"{'work':<28}{'seconds':>9}{'over gather':>13}{'memory, MB':>12}")
        for count in counts:
            limit = bench.bare("gather", count)
            rows = {"map": bench.bare("map", count), "gather": limit}
            rows["pytest-gpuexp"], memory = bench.ours(f"noop{count}", count)
            for label, seconds in rows.items():
                told = f"{memory:>12.1f}" if label == "pytest-gpuexp" else ""
                print(f"{count} {label:<23}{seconds:>9.2f}{seconds / limit:>13.2f}{told}")
        cold, _ = bench.ours("torch", 2, imports="import torch", body="torch.zeros(1) + 1")
        warm, _ = bench.ours("torch", 2, imports="import torch", body="torch.zeros(1) + 1")
        print(f"{'2 torch, cold':<28}{cold:>9.2f}\n{'2 torch, warm':<28}{warm:>9.2f}")
        sleeps, at_once = (12, 4) if asked.quick else (300, 50)
        server.scale(at_once)
        for label in ("cold", "warm"):
            seconds, _ = bench.ours("sleep", sleeps, body="time.sleep(1)", at_once=at_once)
            ideal = sleeps / at_once
            told = f"{sleeps} sleeps of 1 s, {label}"
            print(f"{told:<28}{seconds:>9.2f}  {seconds / ideal:.2f}x of the ideal {ideal:.0f} s")
    return 0


class _Bench:
    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._environ = {**environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        # Beside the project: what changes in it is code that changed, and a snapshot anew.
        self._notes = folder / "notes"
        self._folder = folder / "project"
        for each in (self._notes, self._folder):
            each.mkdir()
        (self._folder / "pyproject.toml").write_text(PYPROJECT)

    def deploy(self) -> None:
        for module in ("pytest_gpuexp.backends.modal_app", "bench.modal_bare"):
            self._run("-m", "modal", "deploy", "-m", module)

    def bare(self, how: str, count: int) -> float:
        return float(self._run("-m", "bench.modal_gather", how, str(count)).splitlines()[-1])

    def ours(
        self,
        name: str,
        runs: int,
        *,
        imports: str = "",
        body: str = "pass",
        at_once: int = _AT_ONCE,
    ) -> tuple[float, float]:
        """Return seconds from the plan to the end of the last run, and the peak memory in MB."""
        source = EXPERIMENT.format(name=name, imports=imports, body=body)
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        (folder / f"exp_{name}.py").write_text(source)
        note = self._notes / "peak.json"
        words = [str(Path(__file__).with_name("witness.py")), str(note), "-q", str(folder)]
        began = time.perf_counter()
        # By option: a number in the file would be an edit, and every snapshot begin anew.
        options = ("--backend=modal", f"--seeds={runs}", f"--parallelism={at_once}")
        self._run(*words, "-p", "no:cacheprovider", *options)
        return time.perf_counter() - began, json.loads(note.read_text())["peak_kib"] / 1024

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
