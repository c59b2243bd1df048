"""Which runs of a session are kept as they are stored, which are run, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pytest_gpuexp.records import UNFINISHED, RunSpec, Status

Rerun = Literal["failed", "stale", "all"]
Fingerprint = Mapping[str, str]  # file -> digest

ADOPTED = "taken over, begun"
NEW, KEPT, FAILED, UNREADABLE = "new", "kept", "failed before", "unreadable record"
RUNNING, SINCE = "running: ", ", since "
_CRASHED = ("failed", "timeout", "oom")
_SHOWN_FILES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What a plan must know of a record."""

    status: Status
    stub: bool = False
    fingerprint: Fingerprint = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is stored of some runs, by run id.

    ``records`` are the newest ones, ``unreadable`` the files of those that cannot be read, and
    ``begun`` names runs of which an attempt was begun that has left no record. ``elsewhere`` are
    those of them whose attempt may be under way or have ended unseen, with the time of its begin;
    ``running`` tells of those that other sessions have under way where, and since when.
    """

    records: Mapping[str, Glance] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    begun: Collection[str] = ()
    running: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What becomes of one run: it is kept, left to others, or it is run for some ``reason``.

    ``same_code`` says whether what is kept comes of the code as it is now.
    """

    spec: RunSpec
    reason: str
    same_code: bool = True

    @property
    def kept(self) -> bool:
        """Whether the run's record stands."""
        return self.reason == KEPT


def make_plan(
    specs: Sequence[RunSpec],
    known: Known,
    fingerprints: Mapping[tuple[str, str], Fingerprint],
    *,
    any_code: bool = False,
    rerun: Rerun | None = None,
) -> list[Planned]:
    """Return what becomes of each of ``specs``, in their order.

    ``fingerprints`` are of the code as it is now, by experiment and handler. ``any_code`` takes
    any code for the same; ``rerun`` says which of the runs that have ended are run again: those
    that crashed, those whose code has changed, or all. Without it both of the former are.
    """
    compared: dict[tuple[str, str, int], str] = {}
    plan = []
    for spec in specs:
        record = known.records.get(spec.run_id)
        if spec.run_id in known.running:
            plan.append(Planned(spec=spec, reason=f"{RUNNING}{known.running[spec.run_id]}"))
        elif spec.run_id in known.elsewhere:
            reason = f"{ADOPTED} {known.elsewhere[spec.run_id]}"
            plan.append(Planned(spec=spec, reason=reason))
        elif spec.run_id in known.unreadable:
            reason = f"{UNREADABLE}: {known.unreadable[spec.run_id]}"
            plan.append(Planned(spec=spec, reason=reason))
        elif record is None or record.stub:
            reason = "lost before" if spec.run_id in known.begun else NEW
            plan.append(Planned(spec=spec, reason=reason))
        else:
            # Records of one code share their fingerprint, so it is compared once.
            key = (spec.experiment_id, spec.handler, id(record.fingerprint))
            if key not in compared:
                compared[key] = change(record.fingerprint, fingerprints[key[:2]])
            changed = compared[key]
            reason = _reason(record, "" if any_code else changed, rerun)
            plan.append(Planned(spec=spec, reason=reason, same_code=not changed))
    return plan


def change(then: Fingerprint, now: Fingerprint) -> str:
    """Return how the code has changed, as ``models/gnn.py changed``, and "" where it has not."""
    if then == now:
        return ""
    if not then:
        return "recorded before fingerprints"
    files = [name for name in then if name in now and then[name] != now[name]]
    files = files or sorted(then.keys() ^ now.keys())
    more = f" and {len(files) - _SHOWN_FILES} more" if len(files) > _SHOWN_FILES else ""
    return f"{', '.join(files[:_SHOWN_FILES])}{more} changed"


def _reason(record: Glance, changed: str, rerun: Rerun | None) -> str:
    """Return why a run with a readable record is run again, or that it is kept."""
    if record.status in UNFINISHED or record.status == "skipped":
        return f"{record.status} before"
    if rerun == "all":
        return "asked for by --rerun=all"
    if record.status in _CRASHED and rerun != "stale":
        return FAILED
    if changed and rerun != "failed":
        return f"stale: {changed}"
    return KEPT
