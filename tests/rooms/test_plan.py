"""Which runs are kept, which are run, and why."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pytest_gpuexp.plan import Fingerprint, Glance, Known, Planned, change, make_plan
from pytest_gpuexp.records import RunSpec, Status
from tests.rooms.attempts import a_spec

CODE: Fingerprint = {"exp_e1.py": "1", "models/gnn.py": "2"}
NOW = {("e1", "exp_fit"): CODE}

statuses = some.sampled_from(get_args(Status))
prints = some.sampled_from([CODE, {}, {**CODE, "models/gnn.py": "3"}, {"exp_e1.py": "1"}])
glances = some.builds(Glance, status=statuses, stub=some.booleans(), fingerprint=prints)
reruns = some.sampled_from([None, "failed", "stale", "all"])
NUMBERS = [f"r{n}" for n in range(6)]


def specs(*run_ids: str) -> list[RunSpec]:
    return [a_spec(run_id=run_id) for run_id in run_ids]


def planned(record: Glance | None, **options: Any) -> Planned:
    known = Known(records={"r": record} if record else {})
    return make_plan(specs("r"), known, NOW, **options)[0]


@given(
    some.dictionaries(some.sampled_from(NUMBERS), glances),
    some.sets(some.sampled_from(NUMBERS)),
    some.sets(some.sampled_from(NUMBERS)),
    some.booleans(),
    reruns,
)
def test_a_plan_is_a_partition_of_its_runs(
    records: dict[str, Glance], damaged: set[str], begun: set[str], any_code: bool, rerun: Any
) -> None:
    known = Known(records=records, unreadable=dict.fromkeys(damaged, "f"), begun=begun)

    plan = make_plan(specs(*NUMBERS), known, NOW, any_code=any_code, rerun=rerun)

    assert [one.spec.run_id for one in plan] == NUMBERS
    assert all(one.reason and one.kept == (one.reason == "kept") for one in plan)
    assert not any(one.kept for one in plan if one.spec.run_id in damaged)
    assert all(records[one.spec.run_id].status == "completed" for one in plan if one.kept) or (
        rerun == "stale"
    )


@given(some.lists(some.sampled_from(NUMBERS), unique=True))
def test_planning_what_was_just_recorded_is_all_kept(run_ids: list[str]) -> None:
    just = Glance(status="completed", fingerprint=dict(CODE))

    plan = make_plan(specs(*run_ids), Known(records=dict.fromkeys(run_ids, just)), NOW)

    assert all(one.kept and one.same_code for one in plan)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "new"),
        (Glance(status="completed", stub=True, fingerprint=CODE), "new"),
        (Glance(status="completed", fingerprint=CODE), "kept"),
        (Glance(status="completed"), "stale: recorded before fingerprints"),
        (Glance(status="failed", fingerprint=CODE), "failed before"),
        (Glance(status="timeout", fingerprint=CODE), "failed before"),
        (Glance(status="oom", fingerprint=CODE), "failed before"),
        (Glance(status="cancelled", fingerprint=CODE), "cancelled before"),
        (Glance(status="lost", fingerprint=CODE), "lost before"),
        (Glance(status="skipped", fingerprint=CODE), "skipped before"),
    ],
)
def test_each_run_has_its_reason(record: Glance | None, reason: str) -> None:
    assert planned(record).reason == reason


def test_a_claim_without_a_record_is_lost_and_a_damaged_record_is_named() -> None:
    known = Known(unreadable={"a": "e1/records/a.1.yaml"}, begun=["b"])

    reasons = [one.reason for one in make_plan(specs("a", "b"), known, NOW)]

    assert reasons == ["unreadable record: e1/records/a.1.yaml", "lost before"]


@pytest.mark.parametrize(
    ("options", "stale", "failed", "done"),
    [
        ({}, False, False, True),
        ({"any_code": True}, True, False, True),
        ({"rerun": "failed"}, True, False, True),
        ({"rerun": "stale"}, False, True, True),
        ({"rerun": "all"}, False, False, False),
        ({"rerun": "all", "any_code": True}, False, False, False),
    ],
)
def test_options_say_what_is_kept(
    options: dict[str, Any], stale: bool, failed: bool, done: bool
) -> None:
    other = {**CODE, "models/gnn.py": "3"}

    kept = [
        planned(Glance(status="completed", fingerprint=other), **options),
        planned(Glance(status="failed", fingerprint=CODE), **options),
        planned(Glance(status="completed", fingerprint=CODE), **options),
    ]

    assert [one.kept for one in kept] == [stale, failed, done]
    assert not kept[0].same_code


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        (CODE, CODE, ""),
        ({}, CODE, "recorded before fingerprints"),
        (CODE, {**CODE, "models/gnn.py": "3"}, "models/gnn.py changed"),
        (CODE, {"exp_e1.py": "1"}, "models/gnn.py changed"),
        (CODE, {"exp_e1.py": "9", "helper.py": "1"}, "exp_e1.py changed"),
        (dict.fromkeys("abcde", "1"), dict.fromkeys("abcde", "2"), "a, b, c and 2 more changed"),
    ],
)
def test_a_change_names_its_files(then: Fingerprint, now: Fingerprint, told: str) -> None:
    assert change(then, now) == told
