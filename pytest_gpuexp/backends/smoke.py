"""What a container has to offer, as a smoke test finds it inside and shows it outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SIDE = 256  # of the matrices that are multiplied to see the GPU work


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A smoke test as text, and whether it has passed."""

    text: str
    passed: bool


def look_around() -> dict[str, Any]:
    """Return what is in this container: versions, and its GPUs with their memory in bytes.

    ``gpus`` are the driver's; ``computed`` says whether PyTorch's came to the right product.
    """
    found: dict[str, Any] = {
        "python": sys.version.split()[0],
        "gpus": _gpus(),
        "torch": None,
        "cuda": False,
        "computed": False,
        "error": "",
    }
    try:
        import torch
    except ImportError:
        return found
    found |= {"torch": torch.__version__, "cuda": torch.cuda.is_available()}
    if found["cuda"]:
        devices = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        found["gpus"] = [{"name": one.name, "memory": one.total_memory} for one in devices]
        try:
            ones = torch.ones(_SIDE, _SIDE, device="cuda")
            found["computed"] = bool((ones @ ones).sum().item() == _SIDE**3)
        except RuntimeError as error:
            found["error"] = " ".join(str(error).split())[:500]
    return found


def show(found: Mapping[str, Any], *, asked: str) -> Shown:
    """Return what ``look_around`` found, where ``asked`` is the GPU that was asked for."""
    lines = ["PYTEST-GPUEXP SMOKE TEST", f"Python: {found['python']}"]
    if found["torch"] is None:
        lines.append("PyTorch: not in the image; name torch among its dependencies if you need it")
    else:
        lines += [f"PyTorch version: {found['torch']}", f"CUDA available: {found['cuda']}"]
    for gpu in found["gpus"]:
        lines += [f"GPU: {gpu['name']}", f"VRAM: {gpu['memory'] / 2**30:.1f} GB"]
    problems = _problems(found, asked)
    lines += problems
    lines.append("SMOKE TEST FAILED" if problems else "SMOKE TEST PASSED")
    return Shown(text="\n".join(lines), passed=not problems)


def _problems(found: Mapping[str, Any], asked: str) -> Sequence[str]:
    if not found["gpus"]:
        return [f"! {asked} was asked for, and the container has no GPU."]
    if found["torch"] is None:
        return []
    if not found["cuda"]:
        return [
            f"! PyTorch {found['torch']} cannot use the GPU: it is a build for CPUs, or for a CUDA "
            "that this driver does not know. Name another torch among the image's dependencies."
        ]
    if not found["computed"]:
        return [f"! The GPU does not compute: {found['error'] or 'a product came out wrong'}"]
    return []


def _gpus() -> list[dict[str, Any]]:
    """Return the GPUs as their driver tells of them; [] where there is none."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rpartition(",") for line in told.splitlines() if "," in line]
    return [
        {"name": name.strip(), "memory": int(mebibytes) << 20}
        for name, _, mebibytes in rows
        if mebibytes.strip().isdecimal()
    ]
