"""Which options and ini values there are."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

# Each has --gpuexp-<name>, the environment's PYTEST_GPUEXP_<NAME> and the ini's gpuexp_<name>.
_VALUED = {
    "backend": "where runs execute: local (default), in-process, modal, or one that a hook offers",
    "gpu": "tier (debug, standard, fast, multi, h100) or GPU string (L40S, H200:4) for all runs",
    "parallelism": "runs at the same time: a number, or auto (default): visible GPUs, else cores",
    "run-timeout": "longest time for one run, as 90, 45s, 10m, 2h; replaces the tier's",
    "budget": "dollars that the runs may cost at most, GPUs alone; more is refused",
    "storage": "where records and artifacts go: a folder (default: results), s3://bucket/prefix, modal://volume",
}
_SHORT_VALUED = tuple(_VALUED)
_SEEDS_HELP = "replace the seeds of every handler by 0 .. N-1"
_SEED_HELP = "replace the seeds of every handler by this one; repeatable"
_SWEEP_HELP = "replace an axis: lr=1e-3,1e-4; +name=... adds one that no file declares; repeatable"
_STUB_HELP = "go the whole way with stub bodies; nothing is judged"
_DRY_HELP = "show the plan and run nothing"
_STAGE_HELP = "run the stage that this file describes, in place of what experiments define"
_CHOICES = {
    "experiment-id": "run only the experiment of this id; repeatable",
    "sub-experiment": "run only the handler of this id, as e1_2; repeatable",
}
_REGISTRY_HELP = "take sub-experiments and thresholds from this plan (research_plan.yaml)"
_RERUN_HELP = "with --resume: of what has ended run again failed, stale, or all"
_LEASE_HELP = "after what silence a session of another machine is gone (default: 60s)"
_FLAGS = {
    "resume": "keep what is done, run the rest, and say why",
    "any-code": "with --resume: keep results of other code too",
    "detach": "on Modal: start all runs and leave; --resume collects them",
    "modal-ephemeral": "on Modal: run an app of this session's own, with nothing deployed",
}
RERUNS = ("failed", "stale", "all")


def add_options(parser: pytest.Parser) -> None:
    """Declare the canonical options and ini values."""
    group = parser.getgroup("gpuexp", "experiments as tests (pytest-gpuexp)")
    for name, text in _VALUED.items():
        group.addoption(f"--gpuexp-{name}", dest=destination(name), default=None, help=text)
        parser.addini(destination(name), help=text, default=None)
    text = "how a run gets a process of its own: auto (default), fork, spawn"
    group.addoption(
        "--gpuexp-isolation", dest="gpuexp_isolation", choices=["auto", "fork", "spawn"], help=text
    )
    parser.addini("gpuexp_isolation", help=text, default=None)
    text = "run only the points that meet this expression: 'lr == 1e-3 and seed in (0, 1)'"
    group.addoption("--gpuexp-filter", dest="gpuexp_filter", metavar="EXPRESSION", help=text)
    group.addoption("--gpuexp-seeds", dest="gpuexp_seeds", metavar="N", help=_SEEDS_HELP)
    group.addoption(
        "--gpuexp-seed", dest="gpuexp_seed", action="append", default=[], help=_SEED_HELP
    )
    group.addoption(
        "--gpuexp-sweep", dest="gpuexp_sweep", action="append", default=[], help=_SWEEP_HELP
    )
    group.addoption(
        "--gpuexp-stub-mode", dest="gpuexp_stub_mode", action="store_true", help=_STUB_HELP
    )
    group.addoption("--gpuexp-dry-run", dest="gpuexp_dry_run", action="store_true", help=_DRY_HELP)
    group.addoption(
        "--gpuexp-resume", dest="gpuexp_resume", action="store_true", help=_FLAGS["resume"]
    )
    parser.addini("gpuexp_resume", help=_FLAGS["resume"], default=None)
    group.addoption(
        "--gpuexp-any-code", dest="gpuexp_any_code", action="store_true", help=_FLAGS["any-code"]
    )
    for name in ("detach", "modal-ephemeral"):
        group.addoption(
            f"--gpuexp-{name}", dest=destination(name), action="store_true", help=_FLAGS[name]
        )
    group.addoption(
        "--gpuexp-rerun", dest="gpuexp_rerun", choices=RERUNS, default=None, help=_RERUN_HELP
    )
    parser.addini("gpuexp_lease", help=_LEASE_HELP, default=None)
    group.addoption("--gpuexp-stage", dest="gpuexp_stage", metavar="FILE", help=_STAGE_HELP)
    for name, text in _CHOICES.items():
        dest, some = destination(name), {"action": "append", "metavar": "ID", "default": []}
        group.addoption(f"--gpuexp-{name}", dest=dest, help=text, **some)
    group.addoption(
        "--gpuexp-registry", dest="gpuexp_registry", metavar="FILE", help=_REGISTRY_HELP
    )
    parser.addini("gpuexp_files", "files that hold experiments", type="args", default=["exp_*.py"])
    parser.addini(
        "gpuexp_functions",
        "functions that are handlers",
        type="args",
        default=["exp_*", "e[0-9]*_*"],
    )


def add_short_options(parser: pytest.Parser) -> list[str]:
    """Declare the short names that nobody has taken, and return those that are.

    To be called once every conftest and plugin has declared its own.
    """
    group = parser.getgroup("gpuexp")
    taken: list[str] = []

    def add(name: str, **attributes: Any) -> None:
        try:
            group.addoption(f"--{name}", dest=destination(name), **attributes)
        except (ValueError, argparse.ArgumentError):
            taken.append(f"--{name}")

    for name in _SHORT_VALUED:
        add(name, default=argparse.SUPPRESS, help=f"same as --gpuexp-{name}")
    for name in ("seed", "sweep"):
        add(name, action="append", default=argparse.SUPPRESS, help=f"same as --gpuexp-{name}")
    add("seeds", metavar="N", default=argparse.SUPPRESS, help="same as --gpuexp-seeds")
    for name in _CHOICES:
        add(name, action="append", default=argparse.SUPPRESS, help=f"same as --gpuexp-{name}")
    add("registry", metavar="FILE", default=argparse.SUPPRESS, help="same as --gpuexp-registry")
    add("stage", metavar="FILE", default=argparse.SUPPRESS, help="same as --gpuexp-stage")
    for name in ("stub-mode", "dry-run"):
        add(name, action="store_true", default=argparse.SUPPRESS, help=f"same as --gpuexp-{name}")
    for name in _FLAGS:
        add(name, action="store_true", default=argparse.SUPPRESS, help=f"same as --gpuexp-{name}")
    add("rerun", choices=RERUNS, default=argparse.SUPPRESS, help="same as --gpuexp-rerun")
    return taken


def destination(name: str) -> str:
    """Return where pytest keeps the option ``name``, which is also its ini name."""
    return "gpuexp_" + name.replace("-", "_")
