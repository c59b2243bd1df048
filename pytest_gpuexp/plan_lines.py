"""How a plan reads before its first run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pytest_gpuexp import figures
from pytest_gpuexp.plan import KEPT, RUNNING, SINCE
from pytest_gpuexp.records import RunSpec
from pytest_gpuexp.settings import Settings


def plan_lines(plan: Mapping[str, Sequence[RunSpec]]) -> list[str]:
    """Return a line an experiment, as ``c1: 12 runs = exp_mlp 4 variants x 3 seeds``."""
    lines = []
    for experiment_id, specs in plan.items():
        handlers: dict[str, list[RunSpec]] = {}
        for spec in specs:
            handlers.setdefault(spec.handler, []).append(spec)
        parts = " + ".join(_handler_part(name, runs) for name, runs in handlers.items())
        total = _count(len(specs), "run")
        name = figures.clean(experiment_id)
        lines.append(f"{name}: {total} = {parts}" if parts else f"{name}: {total}")
    return lines


def resumption_lines(
    resumption: Sequence[tuple[str, str]], *, every_run: bool = False
) -> list[str]:
    """Return how many runs are kept and why the others run, a line a reason or a line a run.

    ``resumption`` holds name and reason of each run, and is empty where nothing is resumed.
    """
    if not resumption:
        return []
    why = Counter(reason.partition(SINCE)[0] for _, reason in resumption)
    kept, total = why.pop(KEPT, 0), len(resumption)
    running = sum(count for reason, count in why.items() if reason.startswith(RUNNING))
    elsewhere = f" {running} running," if running else ""
    left = total - kept - running
    head = f"resume: {kept} of {_count(total, 'run')} kept,{elsewhere} {left} to run"
    if every_run:
        return [head, *(f"  {figures.clean(f'{name}  {reason}')}" for name, reason in resumption)]
    return [head, *(f"  {count} {figures.clean(reason)}" for reason, count in why.items())]


def facts_of(settings: Settings, *, parallelism: int, storage: str) -> dict[str, str]:
    """Return what people should know of where a session's runs go, by label."""
    backend = settings.backend
    if settings.reason:
        backend += f" ({settings.reason}; no isolation, no timeouts)"
    facts = {"backend": backend}
    if backend == "local":
        isolation = settings.isolation
        facts["isolation"] = "fork" if isolation == "auto" else isolation
    facts["parallelism"] = str(parallelism)
    if backend == "modal":
        facts["GPUs"] = settings.gpu or "by tier"
    else:
        facts["GPUs"] = ", ".join(settings.gpus) or "none (CPU)"
    facts["storage"] = storage
    if settings.stub:
        facts["stub mode"] = "nothing is judged"
    return facts


def facts_line(facts: Mapping[str, str], *, separator: str = " · ") -> str:
    """Return ``facts`` (label -> text) in one line, in their order."""
    return separator.join(f"{label} {figures.clean(text)}" for label, text in facts.items())


def _handler_part(name: str, specs: Sequence[RunSpec]) -> str:
    """Return ``exp_mlp 4 variants x 3 seeds``; where variants differ in seeds, the runs."""
    variants: dict[str, set[int]] = {}
    for spec in specs:
        # One expansion wrote them all, so equal parameters come in equal order.
        variants.setdefault(repr(spec.variant), set()).add(spec.seed)
    seeds = {frozenset(of_one) for of_one in variants.values()}
    if len(seeds) > 1:
        return f"{name} {_count(len(specs), 'run')} of {_count(len(variants), 'variant')}"
    replicates = _count(len(next(iter(seeds))), "seed")
    if len(variants) == 1 and not specs[0].variant:
        return f"{name} {replicates}"
    return f"{name} {_count(len(variants), 'variant')} x {replicates}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
