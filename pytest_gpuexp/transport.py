"""Attempts and outcomes as JSON values, between the processes of a session."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

from pytest_gpuexp import schema
from pytest_gpuexp.records import Assertion, Attempt, ExperimentResult, Outcome, Plain, RunSpec


def attempt_to_plain(attempt: Attempt) -> dict[str, Plain]:
    """Return ``attempt`` as JSON values."""
    spec = attempt.spec
    return {
        "spec": {
            **{name: getattr(spec, name) for name in _SPEC},
            "parameters": dict(spec.parameters),
        },
        "number": attempt.number,
        "stub": attempt.stub,
        "marks": [[name, list(args), dict(kwargs)] for name, args, kwargs in attempt.marks],
        "fingerprint": dict(attempt.fingerprint),
        "submitted_at": attempt.submitted_at,
        "restores": list(attempt.restores),
        "any_code": attempt.any_code,
    }


def attempt_from_plain(data: Mapping[str, Any]) -> Attempt:
    """Return the attempt that ``attempt_to_plain`` was given."""
    spec = {**data["spec"], "seeded": tuple(data["spec"].get("seeded", ()))}
    return Attempt(**{**data, "spec": RunSpec(**spec)})


def outcome_to_plain(outcome: Outcome) -> dict[str, Plain]:
    """Return ``outcome`` as JSON values."""
    return {
        "result": schema.record_to_plain(outcome.result, with_provenance=False),
        "reports": list(outcome.reports),
        "log_tail": outcome.log_tail,
    }


def outcome_from_plain(data: Mapping[str, Any], attempt: Attempt) -> Outcome:
    """Return the outcome of ``attempt`` that ``outcome_to_plain`` was given.

    Raises:
        RecordInvalid: the result is not one of this version.
    """
    result = schema.record_from_plain(data["result"], place="reply of a worker")
    return Outcome(
        result=_shared(result, attempt), reports=data["reports"], log_tail=data["log_tail"]
    )


def _shared(result: ExperimentResult, attempt: Attempt) -> ExperimentResult:
    """Return ``result`` with what ``attempt`` holds already in the place of its own copies.

    JSON gives every result strings and dicts of its own: 3 kB a run, for the whole session.
    """
    mine = {name: getattr(attempt.spec, name) for name in _ALIKE}
    mine["fingerprint"] = attempt.fingerprint
    same = {name: value for name, value in mine.items() if getattr(result, name) == value}
    same |= {name: sys.intern(getattr(result, name)) for name in ("status", "verdict")}
    return dataclasses.replace(
        result,
        **same,
        device=result.device and sys.intern(result.device),
        config={sys.intern(name): value for name, value in result.config.items()},
        metrics={sys.intern(name): value for name, value in result.metrics.items()},
        assertions=tuple(map(_lean, result.assertions)),
    )


def _lean(one: Assertion) -> Assertion:
    last = one.first if one.last == one.first else one.last
    return dataclasses.replace(one, source=sys.intern(one.source), last=last)


_ALIKE = ("experiment_id", "run_id", "handler", "name", "path", "parameters")
_SPEC = tuple(field.name for field in dataclasses.fields(RunSpec))
