"""Attempts and outcomes on their way between processes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp import transport
from pytest_gpuexp.errors import RecordInvalid
from pytest_gpuexp.records import Outcome
from tests.rooms.attempts import a_result, an_attempt

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_PLAIN = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(parameters=st.dictionaries(st.text(min_size=1), _PLAIN), seed=st.integers(min_value=0))
def test_an_attempt_arrives_as_it_left(parameters: dict[str, Any], seed: int) -> None:
    attempt = an_attempt(
        parameters=parameters, seed=seed, tier="multi", gpus=2, timeout_seconds=9.0
    )

    arrived = transport.attempt_from_plain(
        json.loads(json.dumps(transport.attempt_to_plain(attempt)))
    )

    assert arrived == dataclasses.replace(attempt, marks=[])


def test_marks_travel_with_their_attempt() -> None:
    attempt = dataclasses.replace(an_attempt(), marks=[("xfail", (), {"reason": "hard"})])

    arrived = transport.attempt_from_plain(
        json.loads(json.dumps(transport.attempt_to_plain(attempt)))
    )

    assert [list(mark) for mark in arrived.marks] == [["xfail", [], {"reason": "hard"}]]


def test_an_outcome_arrives_as_it_left(tmp_path: Path) -> None:
    outcome = Outcome(result=a_result(tmp_path), reports=[{"when": "call"}], log_tail="the end")

    arrived = transport.outcome_from_plain(
        json.loads(json.dumps(transport.outcome_to_plain(outcome))), an_attempt()
    )

    assert arrived.result.error_message == outcome.result.error_message
    assert dataclasses.replace(arrived.result, provenance={}) == outcome.result
    assert (arrived.reports, arrived.log_tail) == ([{"when": "call"}], "the end")


def test_ten_thousand_results_hold_what_their_attempts_hold_once(tmp_path: Path) -> None:
    attempt = an_attempt(parameters={"lr": 0.1})
    outcome = Outcome(
        result=dataclasses.replace(a_result(tmp_path, attempt=attempt), metrics={"accuracy": 0.5})
    )
    wire = json.dumps(transport.outcome_to_plain(outcome))

    one, other = (transport.outcome_from_plain(json.loads(wire), attempt).result for _ in "ab")

    for name in ("experiment_id", "run_id", "handler", "name", "path", "parameters"):
        assert getattr(one, name) is getattr(attempt.spec, name), name
    assert one.fingerprint is attempt.fingerprint
    assert next(iter(one.metrics)) is next(iter(other.metrics))


def test_a_result_keeps_what_differs_from_its_attempt(tmp_path: Path) -> None:
    outcome = Outcome(result=a_result(tmp_path, attempt=an_attempt(parameters={"lr": 0.1})))
    wire = json.loads(json.dumps(transport.outcome_to_plain(outcome)))

    arrived = transport.outcome_from_plain(wire, an_attempt(parameters={"lr": 0.2}))

    assert arrived.result.parameters == {"lr": 0.1}


def test_a_reply_of_another_version_is_refused(tmp_path: Path) -> None:
    plain = transport.outcome_to_plain(Outcome(result=a_result(tmp_path)))
    plain["result"]["version"] = 7

    with pytest.raises(RecordInvalid, match="reply of a worker: version 7 is unknown"):
        transport.outcome_from_plain(plain, an_attempt())
