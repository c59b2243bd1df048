"""How long a resume needs to look through finished runs: `python -m bench.resume_scan`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pytest_gpuexp import documents, recording
from pytest_gpuexp.knowledge import Knowledge
from pytest_gpuexp.plan import make_plan
from pytest_gpuexp.records import Assertion, ExperimentResult, RunSpec
from pytest_gpuexp.storage.local import LocalStorage

_CODE = {"exp_scan.py": "0123456789abcdef", "helper.py": "0" * 16, "models/gnn.py": "1" * 16}
_PROVENANCE = {"host": "h", "packages": {f"package{number}": "1.0" for number in range(20)}}


def main(runs: int = 10_000) -> int:
    """Write ``runs`` records, and print what each of six scans over them takes."""
    specs = [_spec(number) for number in range(runs)]
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), specs)
        for number in range(6):
            began = time.perf_counter()
            knowledge = Knowledge(LocalStorage(Path(folder)), durable=False, indexed=True)
            known = knowledge.review(specs)
            scanned = time.perf_counter()
            plan = make_plan(specs, known, {("scan", "exp_scan"): _CODE})
            ended = time.perf_counter()
            kept = sum(planned.kept for planned in plan)
            told = f"scan {scanned - began:.3f} s, plan {ended - scanned:.3f} s, {kept} kept"
            print(f"{'first' if number == 0 else 'again'}: {told}", flush=True)
    return 0


def _spec(number: int) -> RunSpec:
    return RunSpec(
        experiment_id="scan",
        handler="exp_scan",
        function="exp_scan",
        path="exp_scan.py",
        name=f"exp_scan[lr:{number // 5}-seed:{number % 5}]",
        parameters={"lr": number // 5},
        seed=number % 5,
        run_id=f"exp_scan-{number:016x}",
    )


def _write(folder: Path, specs: Sequence[RunSpec]) -> None:
    provenance = documents.dump({"provenance": _PROVENANCE})
    for name in ("records", "jobs"):
        (folder / "scan" / name).mkdir(parents=True)
    for spec in specs:
        result = ExperimentResult(
            experiment_id=spec.experiment_id,
            run_id=spec.run_id,
            attempt=1,
            handler=spec.handler,
            name=spec.name,
            path=spec.path,
            status="completed",
            verdict="pass",
            config={**spec.parameters, "seed": spec.seed},
            parameters=spec.parameters,
            seed=spec.seed,
            metrics={"accuracy": 0.93, "train_loss": 0.12},
            assertions=[
                Assertion(line=9, source="a > 0", met=True, count=1, first="1 > 0", last="1 > 0")
            ],
            fingerprint=_CODE,
        )
        path = folder / recording.record_name(result)
        path.write_bytes(documents.dump_record(result, provenance))
        (folder / "scan" / "jobs" / path.name).write_bytes(b"attempt: 1\n")


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
