"""Whether a run is attempted again when an attempt of it has ended, and on which machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pytest_gpuexp.records import Plain, RunSpec, Status

STATUSES: tuple[Status, ...] = ("preempted", "oom", "timeout", "failed", "lost")
"""The ends after which another attempt can be asked for."""
UNASKED: frozenset[Status] = frozenset({"preempted", "oom"})
"""Those after which there is one where only the number of retries is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a handler's runs are attempted again in one session, and after which ends.

    ``number`` counts the further attempts. ``instead`` is the machine that is asked for after an
    ``oom``: ``tier``, ``gpus`` and ``timeout_seconds`` of a RunSpec; empty for the same one.
    """

    number: int
    on: frozenset[Status] = UNASKED
    instead: Mapping[str, Plain] = field(default_factory=dict)


def next_spec(
    spec: RunSpec, retries: Retries | None, *, tries: int, status: Status
) -> RunSpec | None:
    """Return what to run after an attempt of ``spec`` ended in ``status``; None: nothing more.

    ``tries`` are the attempts of this session until now, that one included.
    """
    if retries is None or tries > retries.number or status not in retries.on:
        return None
    return dataclasses.replace(spec, **retries.instead) if status == "oom" else spec


def machines(spec: RunSpec, retries: Retries | None) -> Iterator[RunSpec]:
    """Yield ``spec`` for each machine on which it may come to run."""
    yield spec
    if retries is not None and retries.instead:
        yield dataclasses.replace(spec, **retries.instead)


def told(spec: RunSpec, retries: Retries, *, tries: int, status: Status, why: str) -> str:
    """Return ``exp_fit[seed:0]: attempt 2 of 3 after oom, on h100 (CUDA out of memory)``.

    ``spec`` is what is run now, ``tries`` as for ``next_spec``.
    """
    where = f", on {spec.tier}" if status == "oom" and retries.instead else ""
    because = f" ({why})" if why else ""
    return (
        f"{spec.name}: attempt {tries + 1} of {retries.number + 1} after {status}{where}{because}"
    )
