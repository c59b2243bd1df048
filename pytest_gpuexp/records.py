"""The values that travel between rooms: what to run, where it is, and how it ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal[
    "completed", "failed", "timeout", "oom", "preempted", "cancelled", "lost", "skipped"
]
Verdict = Literal["pass", "fail", "undecided", "not_evaluated"]

# An attempt that ended so was broken off: it says nothing of its run.
UNFINISHED: frozenset[Status] = frozenset({"cancelled", "lost", "preempted"})

Plain = Any  # None, bool, int, float, str, and lists and str-keyed dicts of these


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What a metric's mean over seeds must reach, in the metric's own unit.

    ``acceptable`` decides the verdict; ``target`` is what was hoped for; at ``failure`` or worse
    the claim is given up (recommendation ``pivot``). Without ``failure``, ``acceptable`` takes
    its place.
    """

    direction: Literal["at_least", "at_most"]
    acceptable: float
    target: float | None = None
    failure: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One ``exp_*.py`` module: what it claims, and what would bear the claim out."""

    experiment_id: str
    claim: str = ""
    success_criteria: Mapping[str, Threshold] = field(default_factory=dict)
    judged: Literal["any", "every"] = "any"
    path: str = ""  # of the module, relative to the rootdir, with "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One run: variant x seed. A worker needs nothing else to execute it.

    ``path`` is the module's, relative to the rootdir, with "/"; ``name`` is the item's, as
    ``exp_mlp[lr:0.001-seed:0]``. ``parameters`` are flat, dotted names unexpanded, plain values
    only; ``seeded`` names those that were made of the seed, so that replicates differ in them.
    ``gpus`` is None where neither a tier nor the command line said how many.
    """

    experiment_id: str
    handler: str
    function: str
    path: str
    name: str
    parameters: Mapping[str, Plain]
    seed: int
    run_id: str
    tier: str | None = None
    gpus: int | None = None
    timeout_seconds: float | None = None
    seeded: Sequence[str] = ()

    @property
    def variant(self) -> dict[str, Plain]:
        """Return the parameters that all replicates share."""
        return without(self.parameters, self.seeded)

    @property
    def node_id(self) -> str:
        """Return the id under which pytest shows this run."""
        return f"{self.path}::{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One execution of a run, numbered from 1 within its run.

    ``marks`` are pytest marks that the handler itself does not have: name, arguments, keywords.
    ``fingerprint`` is that of the code which is executed: a digest a file, for the record.
    ``submitted_at`` tells this attempt from one that had its number before records were deleted.
    ``restores`` are the earlier attempts whose checkpoints it may go on from, with ``any_code``
    those of other code too.
    """

    spec: RunSpec
    number: int
    stub: bool = False
    marks: Sequence[tuple[str, Sequence[Plain], Mapping[str, Plain]]] = ()
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    submitted_at: str = ""
    restores: Sequence[int] = ()
    any_code: bool = False

    @property
    def key(self) -> str:
        """Return the stem of every file that belongs to this attempt: ``<run_id>.<number>``."""
        return f"{self.spec.run_id}.{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An attempt that a backend has taken; ``handle`` lets a later session find it again."""

    key: str
    backend: str
    handle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """All that one ``assert`` line of a handler did in one run.

    ``first`` and ``last`` are pytest's explanation with values (``0.97 > 0.5``) of the first and
    the last evaluation; ``count`` how many there were. ``met`` is False for the one that failed.
    """

    line: int
    source: str
    met: bool
    count: int
    first: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A published file: its name below ``artifacts/``, its bytes' sha256 (hex) and their number."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentResult:
    """How one attempt ended; the content of its record.

    ``status`` speaks of execution alone, ``verdict`` of the handler's own assertions alone.
    ``config`` is ``parameters`` nested by their dots, with ``seed``. ``metrics`` holds what the
    handler returned, else the last value logged under the name; ``non_finite`` names those that
    are NaN or infinite. ``restored_step`` is that of the checkpoint from which the attempt went on,
    None where it began afresh. Times are UTC in ISO 8601; ``duration_seconds`` is wall time in the
    worker.
    """

    experiment_id: str
    run_id: str
    attempt: int
    handler: str
    name: str
    path: str
    status: Status
    verdict: Verdict
    config: Mapping[str, Plain]
    parameters: Mapping[str, Plain]
    seed: int
    seeded: Sequence[str] = ()  # parameters that were made of the seed
    metrics: Mapping[str, float] = field(default_factory=dict)
    non_finite: Sequence[str] = ()
    finding: str | None = None
    assertions: Sequence[Assertion] = ()
    artifacts: Sequence[Artifact] = ()
    checkpoint_path: str | None = None  # below the experiment's folder
    restored_step: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    started_at: str = ""
    completed_at: str = ""
    duration_seconds: float = 0.0
    device: str | None = None
    published: bool = True
    stub: bool = False
    expected_failure: str | None = None  # the reason of an xfail mark that came true
    fingerprint: Mapping[str, str] = field(default_factory=dict)  # a digest a file of its code
    provenance: Mapping[str, Plain] = field(default_factory=dict)

    @property
    def variant(self) -> dict[str, Plain]:
        """Return the parameters that all replicates share."""
        return without(self.parameters, self.seeded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a backend hands back for a finished job.

    ``reports`` are pytest's, in order of phase, as ``pytest_report_to_serializable`` gives them;
    empty where the worker died before it could write any.
    """

    result: ExperimentResult
    reports: Sequence[Mapping[str, Plain]] = ()
    log_tail: str = ""  # the last 64 KiB of the run's output


def without(parameters: Mapping[str, Plain], names: Collection[str]) -> dict[str, Plain]:
    """Return ``parameters`` without those of ``names``."""
    return {name: value for name, value in parameters.items() if name not in names}
