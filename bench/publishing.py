"""What publishing adds to a run of a local sweep: `python -m bench.publishing`.

The same sweep of no-op runs goes into a folder and into a bucket of a SeaweedFS beside it, at two
sizes, so that what a session pays once is not counted. CPU is the session's and its workers'.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests import servers

FEW, MANY = 100, 600
TARGET_MS = 5.0
_SECONDS = 300
_SOURCE = """
from pytest_gpuexp import experiment, seeds

pytestmark = experiment("published")


@seeds({runs})
def exp_published(runner, seed):
    runner.log_metrics({{"x": seed}})
    assert seed >= 0
"""


def run(*, few: int = FEW, many: int = MANY, rounds: int = 3) -> str:
    """Measure, and return what one more run costs beyond one in a folder."""
    least: dict[tuple[str, int], tuple[float, float]] = {}
    with servers.seaweed() as server:
        for number in range(rounds):
            for runs in (few, many):
                for where in ("folder", "bucket"):
                    print(
                        f"publishing {number + 1}/{rounds}: {runs} runs, {where}",
                        file=sys.stderr,
                        flush=True,
                    )
                    took = _session(runs, server if where == "bucket" else None)
                    before = least.get((where, runs), took)
                    least[where, runs] = (min(before[0], took[0]), min(before[1], took[1]))
    return render(least, few, many)


def render(least: dict[tuple[str, int], tuple[float, float]], few: int, many: int) -> str:
    """Return ms a run from seconds of CPU and wall, by place and number of runs."""

    def marginal(where: str, which: int) -> float:
        return 1000 * (least[where, many][which] - least[where, few][which]) / (many - few)

    cpu, wall = (marginal("bucket", which) - marginal("folder", which) for which in (0, 1))
    return (
        f"publishing: a run of a local sweep, {few} against {many} runs, adds {cpu:.1f} ms of CPU "
        f"and {wall:.1f} ms of wall time to the {marginal('folder', 1):.1f} ms of one in a folder "
        f"(target at most {TARGET_MS:.0f} ms)"
    )


def _session(runs: int, server: servers.Server | None) -> tuple[float, float]:
    """Return CPU and wall seconds of a session of ``runs``."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        (Path(folder) / "exp_published.py").write_text(_SOURCE.format(runs=runs))
        bucket = f"--storage=s3://{servers.BUCKET}/{Path(folder).name}"
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--parallelism=2"]
        began, busy = time.perf_counter(), _cpu()
        done = subprocess.run(
            [sys.executable, *words, *([bucket] if server else [])],
            cwd=folder,
            env={**os.environ, **(server.environ() if server else {}), "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"the session of {runs} runs failed:\n{done.stdout}{done.stderr}")
        return _cpu() - busy, time.perf_counter() - began


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.publishing", description=__doc__)
    parser.add_argument("--few", type=int, default=FEW, help="runs of the smaller sweep")
    parser.add_argument("--many", type=int, default=MANY, help="runs of the larger sweep")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    asked = parser.parse_args(arguments)
    print(run(few=asked.few, many=asked.many, rounds=asked.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
