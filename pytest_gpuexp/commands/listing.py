"""The command ``gpuexp list``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_gpuexp import figures
from pytest_gpuexp.answers import Answer
from pytest_gpuexp.holdings import Holding, Holdings, open_holdings
from pytest_gpuexp.publishing import ARTIFACTS
from pytest_gpuexp.storage.local import LocalStorage
from pytest_gpuexp.storage.tigris import TigrisStorage

if TYPE_CHECKING:
    from pytest_gpuexp.answers import Commands

_LINK_SECONDS = 24 * 3600
_HEAD = ("experiment", "runs", "status", "verdict", "recommendation")


def add(commands: Commands) -> None:
    """Add the command."""
    asked = commands.add_parser(
        "list",
        help="say what a storage holds",
        description="Say which experiments a storage holds, and what has become of their runs.",
    )
    asked.add_argument("storage", nargs="?", metavar="STORAGE", help="a folder, or s3://bucket")
    asked.add_argument(
        "--links", action="store_true", help="add where each artifact is; a bucket's for a day"
    )
    asked.add_argument("--json", action="store_true", help="print JSON, for programs")
    asked.set_defaults(act=act)


def act(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
    """Answer with a line an experiment, or one object for each."""
    holdings = open_holdings(arguments.storage, environ)
    found = [holdings.holding(one) for one in holdings.experiment_ids()]
    links = {
        one.experiment_id: list(_links(holdings, one)) if arguments.links else [] for one in found
    }
    if arguments.json:
        told = [_plain(one, links[one.experiment_id], linked=arguments.links) for one in found]
        return Answer(text=json.dumps(told, indent=2, ensure_ascii=False))
    if not found:
        return Answer(text=f"no experiment is kept in {holdings.storage.url}")
    return Answer(text="\n".join(_lines(found, links)))


def describe_statuses(statuses: Mapping[str, int]) -> str:
    """Return ``statuses`` as ``10 completed, 2 failed``."""
    return ", ".join(f"{number} {status}" for status, number in statuses.items())


def _lines(found: Sequence[Holding], links: Mapping[str, Sequence[tuple[str, str]]]) -> list[str]:
    rows = [_HEAD, *(_row(one) for one in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = []
    for number, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        if number:
            for name, link in links[found[number - 1].experiment_id]:
                lines += [f"  {figures.clean(name)}", f"    {link}"]
    return lines


def _row(one: Holding) -> tuple[str, str, str, str, str]:
    return (
        figures.clean(one.experiment_id),
        str(len(one.runs)),
        describe_statuses(one.statuses),
        one.verdict or "-",
        one.recommendation or "-",
    )


def _plain(one: Holding, links: Sequence[tuple[str, str]], *, linked: bool) -> dict[str, Any]:
    told = {
        "experiment_id": one.experiment_id,
        "claim": one.results.get("claim"),
        "runs": len(one.runs),
        "statuses": dict(one.statuses),
        "verdict": one.verdict or None,
        "recommendation": one.recommendation or None,
    }
    return {**told, "artifacts": dict(links)} if linked else told


def _links(holdings: Holdings, one: Holding) -> Iterator[tuple[str, str]]:
    """Yield each artifact of the runs' newest attempts, and where it is to be had."""
    ledger, storage = holdings.ledger(one.experiment_id), holdings.storage
    for result in ledger.stored(one.runs).values():
        folder = f"{one.experiment_id}/runs/{result.run_id}/{result.attempt}/artifacts"
        for artifact in result.artifacts:
            name = f"{result.run_id}/{artifact.name}"
            if isinstance(storage, TigrisStorage):
                yield name, storage.link(f"{ARTIFACTS}/{artifact.sha256}", seconds=_LINK_SECONDS)
            elif isinstance(storage, LocalStorage):
                yield name, str(storage.path(f"{folder}/{artifact.name}"))
