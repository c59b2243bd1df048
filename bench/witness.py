"""Run pytest as a script, then note the process's own peak memory, and the SDKs it has loaded."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import pytest

SDKS = (
    "boto3",
    "botocore",
    "hydra",
    "modal",
    "numpy",
    "omegaconf",
    "pandas",
    "ray",
    "rich",
    "scipy",
    "submitit",
    "torch",
    "wandb",
)


def peak_kib() -> int:
    """Return the most memory that this process, without its children, had resident, in KiB."""
    status = Path("/proc/self/status")
    if not status.exists():
        # macOS counts in bytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    # Not ru_maxrss, which Linux carries over from the process that called exec.
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
    return int(line.split()[1])


if __name__ == "__main__":
    target = Path(sys.argv.pop(1))
    code = pytest.main()
    loaded = [name for name in SDKS if name in sys.modules]
    target.write_text(json.dumps({"peak_kib": peak_kib(), "sdks": loaded}), encoding="utf-8")
    sys.exit(code)
