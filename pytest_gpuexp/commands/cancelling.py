"""The command ``gpuexp cancel``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuexp import processes
from pytest_gpuexp.answers import Answer
from pytest_gpuexp.claims import Claim
from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.holdings import Holdings, open_holdings
from pytest_gpuexp.publishing import Publisher, open_spool
from pytest_gpuexp.storage.local import LocalStorage

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands

_GRACE_SECONDS = 15.0  # a run's own 5 s, and the records
_LOOK_SECONDS = 0.05


def add(commands: Commands) -> None:
    """Add the command."""
    asked = commands.add_parser(
        "cancel",
        help="end the runs that a dead session left",
        description="End what a session that is gone has left running on this machine.",
    )
    asked.add_argument("storage", nargs="?", metavar="STORAGE", help="a folder, or s3://bucket")
    asked.add_argument("--experiment-id", metavar="ID", help="of this experiment alone")
    asked.add_argument("--json", action="store_true", help="print JSON, for programs")
    asked.set_defaults(act=act)


def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
    """End the runs, wait for their records, and answer with how many there were."""
    holdings = open_holdings(arguments.storage, environ)
    experiments = holdings.experiment_ids()
    if (wanted := arguments.experiment_id) is not None and wanted not in experiments:
        raise StorageError(
            f"{holdings.storage.url} holds no experiment {wanted!r}. Experiments: "
            f"{', '.join(experiments) or 'none'}."
        )
    chosen = experiments if wanted is None else [wanted]
    left = {one: _left_alone(holdings, one) for one in chosen}
    handles = {claim.handle for claims in left.values() for claim in claims}
    # One snapshot may hold runs of several experiments, and they end together.
    _end(handles)
    told = _count(holdings, left)
    if arguments.json:
        return Answer(text=json.dumps(told))
    return Answer(text=_describe(told))


def _left_alone(holdings: Holdings, experiment_id: str) -> list[Claim]:
    """Return the claims whose session is gone while their snapshot lives on this machine."""
    pending = holdings.pending(holdings.ledger(experiment_id))
    return [
        claim
        for claim in pending
        if not holdings.presence.is_at_work(claim) and holdings.presence.holds(claim)
    ]


def _end(handles: Iterable[str]) -> None:
    """Tell the snapshots to end their runs, and wait; one that does not listen is killed."""
    deadline = time.monotonic() + _GRACE_SECONDS
    named = [(int(pid), started) for pid, _, started in (one.partition(":") for one in handles)]
    alive = [(pid, started) for pid, started in named if _send(pid, started, processes.END_RUNS)]
    while alive and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        alive = [(pid, started) for pid, started in alive if processes.lives(pid, started)]
    for pid, started in alive:
        _send(pid, started, signal.SIGKILL)


def _send(pid: int, started: str, number: int) -> bool:
    """Send a signal to the process that began at ``started``, and to no other of that pid."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Looked at after the descriptor was opened: the pid cannot be given to another now.
        if not processes.lives(pid, started):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _count(holdings: Holdings, left: Mapping[str, Collection[Claim]]) -> dict[str, int]:
    told = {"cancelled": 0, "ended": 0, "unrecorded": 0}
    for experiment_id, claims in left.items():
        _publish(holdings, f"{experiment_id}/records", claims)
        ledger = holdings.ledger(experiment_id)
        for claim in claims:
            if not ledger.has_record(claim):
                told["unrecorded"] += 1
            elif ledger.read(ledger.record_of(claim)).status == "cancelled":
                told["cancelled"] += 1
            else:
                told["ended"] += 1
    return told


def _publish(holdings: Holdings, folder: str, claims: Iterable[Claim]) -> None:
    """Bring what lies in the spool below this folder, or one above it, to the bucket."""
    if isinstance(holdings.storage, LocalStorage):
        return
    for root in (Path.cwd(), *Path.cwd().parents):
        if (root / ".gpuexp/spool").is_dir():
            spool = open_spool(root, holdings.storage.url)
            publisher = Publisher(spool, holdings.storage)
            for claim in claims:
                if spool.exists(name := f"{folder}/{claim.key}.yaml"):
                    publisher.attempt(name)
            return


def _describe(told: Mapping[str, int]) -> str:
    if not any(told.values()):
        return "nothing that a dead session left is running on this machine"
    lines = [f"{_runs(told['cancelled'])} ended and recorded as cancelled"]
    if told["ended"]:
        lines.append(f"{_runs(told['ended'])} came to an end of their own meanwhile")
    if told["unrecorded"]:
        lines.append(
            f"{_runs(told['unrecorded'])} had not begun, or left no record: --resume runs them"
        )
    return "\n".join(lines)


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"
