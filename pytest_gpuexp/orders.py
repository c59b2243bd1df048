"""Which runs a session is asked for, in place of those that its files define."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_gpuexp.errors import RecordInvalid
from pytest_gpuexp.identifiers import row_text, value_text
from pytest_gpuexp.records import Plain, Threshold, without

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run, before the module that holds its function is imported.

    ``path`` is the module's, absolute. ``parameters`` are flat, as a RunSpec's. ``run_id`` is ""
    where it is to be made of the rest; ``seeded`` are as a RunSpec's. ``label`` is the part of the
    run's name in brackets.
    """

    path: str
    function: str
    parameters: Mapping[str, Plain]
    seed: int
    run_id: str = ""
    label: str = ""
    seeded: Sequence[str] = ()

    @property
    def target(self) -> str:
        """Return what is run, as an error or a plan names it."""
        return f"{self.path}::{self.function}"

    @property
    def variant(self) -> dict[str, Plain]:
        """Return the parameters that all replicates share."""
        return without(self.parameters, self.seeded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The runs of one session, in order.

    ``stage`` names the batch whose report is to be written, "" for none; ``sizes`` says how its
    runs come about. Where a stage has no
    ``success_criteria``, those of the experiments hold. ``gpu_type`` and ``timeout_seconds`` are
    None where the handlers' own hold.
    """

    requests: Sequence[RunRequest]
    stage: str = ""
    sizes: str = ""
    success_criteria: Mapping[str, Threshold] = field(default_factory=dict)
    gpu_type: str | None = None
    timeout_seconds: float | None = None

    @property
    def paths(self) -> list[Path]:
        """Return the files that hold the functions, each once, in order."""
        return [Path(path) for path in dict.fromkeys(one.path for one in self.requests)]


def labelled(requests: Sequence[RunRequest]) -> list[RunRequest]:
    """Return ``requests`` with labels: the parameters in which those of one function differ.

    Where that is not enough to tell two apart, their run ids do.
    """
    groups: dict[str, list[RunRequest]] = {}
    for request in requests:
        groups.setdefault(request.target, []).append(request)
    varying = {target: _varying(group) for target, group in groups.items()}
    texts = [_label(one, varying[one.target]) for one in requests]
    counts = Counter(zip((one.target for one in requests), texts, strict=True))
    return [
        dataclasses.replace(
            one, label=text if counts[one.target, text] == 1 else f"run_id:{one.run_id}-{text}"
        )
        for one, text in zip(requests, texts, strict=True)
    ]


def write_order(path: Path, order: Order) -> None:
    """Write ``order`` for a session to read."""
    path.write_text(json.dumps({"order": _VERSION, **dataclasses.asdict(order)}))


def order_from_plain(data: Mapping[str, Any], *, place: str) -> Order:
    """Return the order that ``write_order`` was given; ``place`` names its file in errors.

    Raises:
        RecordInvalid: another version of this package wrote it.
    """
    if data["order"] != _VERSION:
        raise RecordInvalid(
            f"{place}: order {data['order']!r} is unknown; this pytest-gpuexp reads {_VERSION}. "
            "Let the same pytest-gpuexp write and run it."
        )
    criteria = {name: Threshold(**one) for name, one in data["success_criteria"].items()}
    given = {key: value for key, value in data.items() if key != "order"}
    requests = tuple(
        RunRequest(**{**one, "seeded": tuple(one["seeded"])}) for one in data["requests"]
    )
    return Order(**{**given, "requests": requests, "success_criteria": criteria})


def _varying(requests: Sequence[RunRequest]) -> list[str]:
    names = dict.fromkeys(name for one in requests for name in one.parameters)
    if len(requests) == 1:
        return []
    first = requests[0].parameters
    return [
        name
        for name in names
        if any(name not in one.parameters for one in requests)
        or any(value_text(one.parameters[name]) != value_text(first[name]) for one in requests)
    ]


def _label(request: RunRequest, varying: Sequence[str]) -> str:
    told = [name for name in varying if name in request.parameters]
    text = row_text(told, [request.parameters[name] for name in told]) if told else ""
    return "-".join(filter(None, (text, f"seed:{request.seed}")))
