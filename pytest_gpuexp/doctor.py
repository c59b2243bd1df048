"""What this machine offers to experiments, and what it lacks."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pytest_gpuexp.gpus import visible_gpus

DISTRIBUTION = "pytest-gpuexp"
EXTRAS = ("hydra", "modal", "slurm", "stats", "tigris", "wandb", "xdist")
OLDEST_PYTHON = (3, 11)
_PATIENCE_SECONDS = 120.0  # a cold disk may take this long to import torch

# Asked of a fresh interpreter: a torch whose libraries do not match can kill the one that asks.
_TORCH_QUESTION = """
import json, torch
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda,
                  "devices": torch.cuda.device_count()}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Torch:
    """What torch says of itself; ``error`` is the last line of a failed import."""

    version: str = ""
    cuda: str | None = None  # the CUDA version that it was built for
    devices: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """All that was looked at; ``diagnose`` needs nothing else.

    ``installed`` maps canonical distribution names to versions; ``requires`` are the requirements
    of this package as its metadata states them, extras included, None where it is not installed.
    ``gpus`` are lines as ``nvidia-smi -L`` prints them. ``torch`` is None where it is absent.
    """

    python: tuple[int, int, int]
    platform: str  # as sys.platform has it
    description: str
    cores: int
    installed: Mapping[str, str]
    requires: Sequence[str] | None
    plugin_registered: bool
    gpus: Sequence[str] = ()
    usable: Sequence[str] = ()  # what runs may be given, as CUDA_VISIBLE_DEVICES names them
    visible_devices: str | None = None  # CUDA_VISIBLE_DEVICES itself
    torch: Torch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the diagnosis; ``broken`` where the core cannot work as it is."""

    topic: Literal["core", "compute", "extra"]
    name: str
    value: str
    advice: str = ""
    broken: bool = False


def diagnose(machine: Machine) -> list[Finding]:
    """Return what there is to say of ``machine``: the core, then compute, then the extras."""
    return [
        _python(machine),
        Finding(topic="core", name="platform", value=machine.description),
        _plugin(machine),
        *_core_requirements(machine),
        Finding(topic="compute", name="cores", value=str(machine.cores)),
        _gpus(machine),
        _torch(machine),
        _isolation(machine),
        *(_extra(name, machine) for name in EXTRAS),
    ]


def look(environ: Mapping[str, str]) -> Machine:
    """Return what this machine has; starts ``nvidia-smi`` and, where torch is installed, Python.

    Of ``environ`` only ``CUDA_VISIBLE_DEVICES`` is kept.
    """
    installed = {
        str(canonicalize_name(name)): found.version
        for found in importlib.metadata.distributions()
        if (name := found.metadata["Name"])
    }
    known = DISTRIBUTION in installed
    plugins = importlib.metadata.entry_points(group="pytest11")
    return Machine(
        python=(sys.version_info[0], sys.version_info[1], sys.version_info[2]),
        platform=sys.platform,
        description=platform.platform(),
        cores=_count_cores(),
        installed=installed,
        requires=tuple(importlib.metadata.requires(DISTRIBUTION) or ()) if known else None,
        plugin_registered=any(plugin.value == "pytest_gpuexp.plugin" for plugin in plugins),
        gpus=list_gpus(Path("/proc/driver/nvidia/gpus")),
        usable=visible_gpus(environ),
        visible_devices=environ.get("CUDA_VISIBLE_DEVICES"),
        torch=ask_torch(sys.executable) if "torch" in installed else None,
    )


def list_gpus(proc: Path) -> list[str]:
    """Return a line a GPU (and a line a MIG slice) from ``nvidia-smi``, else from ``proc``."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return [_model(card) for card in sorted(proc.glob("*/information"))]
    return [line.strip() for line in told.stdout.splitlines() if line.strip()]


def ask_torch(python: str) -> Torch:
    """Return what torch says of itself in a fresh interpreter, ``python``."""
    try:
        told = subprocess.run(
            [python, "-c", _TORCH_QUESTION],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Torch(error=f"importing it took more than {_PATIENCE_SECONDS:.0f} s")
    if told.returncode:
        last = told.stderr.strip().rpartition("\n")[2]
        return Torch(error=last or f"Python left with exit code {told.returncode}")
    return Torch(**json.loads(told.stdout.splitlines()[-1]))


def _python(machine: Machine) -> Finding:
    value = ".".join(map(str, machine.python))
    broken = machine.python < OLDEST_PYTHON
    wanted = ".".join(map(str, OLDEST_PYTHON))
    advice = f"{wanted} or newer is needed" if broken else ""
    return Finding(topic="core", name="Python", value=value, advice=advice, broken=broken)


def _plugin(machine: Machine) -> Finding:
    version = machine.installed.get(DISTRIBUTION)
    if version is None:
        version = "not installed"
    elif machine.plugin_registered:
        return Finding(topic="core", name=DISTRIBUTION, value=version)
    advice = "pytest does not load it; in its folder run: pip install ."
    return Finding(topic="core", name=DISTRIBUTION, value=version, advice=advice, broken=True)


def _core_requirements(machine: Machine) -> list[Finding]:
    wanted = [Requirement(text) for text in machine.requires or ()]
    findings = []
    for requirement in sorted(wanted, key=lambda one: one.name.lower()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version, met = _check(requirement, machine)
        findings.append(
            Finding(
                topic="core",
                name=requirement.name,
                value=version or "not installed",
                advice="" if met else f"run: pip install '{_plain(requirement)}'",
                broken=not met,
            )
        )
    return findings


def _extra(extra: str, machine: Machine) -> Finding:
    wanted = [
        requirement
        for text in machine.requires or ()
        if (requirement := Requirement(text)).marker is not None
        and requirement.marker.evaluate({"extra": extra})
    ]
    checked = [(requirement.name, *_check(requirement, machine)) for requirement in wanted]
    present = ", ".join(f"{name} {version}" for name, version, _ in checked if version)
    complete = bool(checked) and all(met for _, _, met in checked)
    return Finding(
        topic="extra",
        name=extra,
        value=present or "not installed",
        advice="" if complete else f"run: pip install '{DISTRIBUTION}[{extra}]'",
    )


def _gpus(machine: Machine) -> Finding:
    value = "; ".join(machine.gpus) or "none seen"
    advice = ""
    if machine.visible_devices is not None:
        value += f" (CUDA_VISIBLE_DEVICES={machine.visible_devices})"
        if machine.gpus and not machine.usable:
            advice = "CUDA_VISIBLE_DEVICES hides every GPU; unset it to use them"
    return Finding(topic="compute", name="GPUs", value=value, advice=advice)


def _torch(machine: Machine) -> Finding:
    torch = machine.torch
    if torch is None:
        return Finding(topic="compute", name="torch", value="not installed")
    if torch.error:
        advice = "torch is installed but cannot be imported; install it anew"
        return Finding(topic="compute", name="torch", value=torch.error, advice=advice)
    build = f"for CUDA {torch.cuda}" if torch.cuda else "CPU build"
    advice = ""
    if machine.gpus and not torch.cuda:
        advice = "there are GPUs, but this torch cannot use them; install a CUDA build"
    count = "1 device" if torch.devices == 1 else f"{torch.devices} devices"
    value = f"{torch.version}, {build}, {count}"
    return Finding(topic="compute", name="torch", value=value, advice=advice)


def _isolation(machine: Machine) -> Finding:
    if machine.platform == "linux":
        value = "fork: a run starts in milliseconds from modules imported once"
        return Finding(topic="compute", name="isolation", value=value)
    reason = "Windows has no fork" if machine.platform == "win32" else "fork is safe on Linux alone"
    value = f"spawn: a fresh interpreter a run ({reason})"
    return Finding(topic="compute", name="isolation", value=value)


def _check(requirement: Requirement, machine: Machine) -> tuple[str | None, bool]:
    version = machine.installed.get(canonicalize_name(requirement.name))
    met = version is not None and requirement.specifier.contains(version, prereleases=True)
    return version, met


def _plain(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _model(card: Path) -> str:
    try:
        lines = card.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return models[0] if models else f"a GPU at {card.parent.name}"


def _count_cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))  # what this process may use, not what is built in
    return os.cpu_count() or 1
