"""The command ``gpuexp show``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_gpuexp import documents
from pytest_gpuexp.answers import Answer
from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.holdings import Holdings, open_holdings
from pytest_gpuexp.results import results_name

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands

_SHOWN = 10


def add(commands: Commands) -> None:
    """Add the command."""
    asked = commands.add_parser(
        "show",
        help="print the results of an experiment, or the record of a run",
        description="Print the results of an experiment, or the newest record of a run as YAML.",
    )
    asked.add_argument("what", metavar="ID", help="an experiment_id, a run_id, or run_id.attempt")
    asked.add_argument("storage", nargs="?", metavar="STORAGE", help="a folder, or s3://bucket")
    asked.add_argument("--json", action="store_true", help="print JSON, for programs")
    asked.set_defaults(act=act)


def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
    """Answer with the file as it is stored, or as JSON."""
    holdings = open_holdings(arguments.storage, environ)
    name = _find(holdings, arguments.what)
    data = holdings.storage.read(name)
    if not arguments.json:
        return Answer(text=data.decode(errors="replace").rstrip())
    content: Any = documents.load(data, place=name)
    return Answer(text=json.dumps(content, indent=2, ensure_ascii=False))


def _find(holdings: Holdings, what: str) -> str:
    """Return the storage name of what is asked for.

    Raises:
        StorageError: there is no such experiment or run, or nothing of it to show yet.
    """
    experiments = holdings.experiment_ids()
    if what in experiments:
        if not holdings.storage.exists(results_name(what)):
            raise StorageError(
                f"{what} has no results.yaml yet: a session writes it at its end. See what is "
                "there with: gpuexp list"
            )
        return results_name(what)
    run_ids: list[str] = []
    run, _, attempt = what.rpartition(".")
    for experiment_id in experiments:
        ledger = holdings.ledger(experiment_id)
        folder = f"{experiment_id}/records"
        if numbers := ledger.attempts(what):
            return f"{folder}/{what}.{numbers[-1]}.yaml"
        if attempt.isdecimal() and int(attempt) in ledger.attempts(run):
            return f"{folder}/{what}.yaml"
        if what in ledger.run_ids():
            raise StorageError(f"{what} has been begun, and no attempt of it has a record yet.")
        run_ids += sorted(ledger.run_ids())
    raise StorageError(
        f"{holdings.storage.url} holds no experiment and no run {what!r}. Experiments: "
        f"{_some(experiments)}. Runs: {_some(run_ids)}."
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "none"
