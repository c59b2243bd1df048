"""Attempts and outcomes as JSON values, between the processes of a session."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pytest_gpuexp import schema
from pytest_gpuexp.records import Attempt, Outcome, Plain, RunSpec


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
    }


def attempt_from_plain(data: Mapping[str, Any]) -> Attempt:
    """Return the attempt that ``attempt_to_plain`` was given."""
    return Attempt(**{**data, "spec": RunSpec(**data["spec"])})


def outcome_to_plain(outcome: Outcome) -> dict[str, Plain]:
    """Return ``outcome`` as JSON values."""
    return {
        "result": schema.record_to_plain(outcome.result, with_provenance=False),
        "reports": list(outcome.reports),
        "log_tail": outcome.log_tail,
    }


def outcome_from_plain(data: Mapping[str, Any]) -> Outcome:
    """Return the outcome that ``outcome_to_plain`` was given.

    Raises:
        RecordInvalid: the result is not one of this version.
    """
    return Outcome(
        result=schema.record_from_plain(data["result"], place="reply of a worker"),
        reports=data["reports"],
        log_tail=data["log_tail"],
    )


_SPEC = tuple(field.name for field in dataclasses.fields(RunSpec))
