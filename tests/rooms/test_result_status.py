"""Which stored results a program need not compute again."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp import recording
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.result_status import (
    ResultStatus,
    check_result_status,
    filter_configs_by_status,
    summarize_status_map,
)
from pytest_gpuexp.storage.local import LocalStorage
from tests.rooms.attempts import a_result

COMPLETED_AT = 1_700_000_000.0
HOUR = 3600.0


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "s")


def keep(storage: LocalStorage, run_id: str, **changes: Any) -> None:
    result = a_result(storage.folder, now=COMPLETED_AT)
    told = {"status": "completed", "metrics": {"val_loss": 0.5}, "run_id": run_id}
    recording.commit(storage, dataclasses.replace(result, **{**told, **changes}), b"")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "complete"),
        ({"metrics": {}}, "partial"),
        ({"metrics": {"val_loss": math.inf}}, "partial"),
        ({"metrics": {"val_loss": math.nan}}, "partial"),
        ({"status": "timeout"}, "partial"),
        ({"completed_at": "2020-01-01T00:00:00.000Z"}, "stale"),
        ({"completed_at": "", "metrics": {}}, "partial"),
        ({"completed_at": ""}, "stale"),
    ],
)
def test_a_stored_result_is_complete_partial_or_stale(
    storage: LocalStorage, changes: dict[str, Any], expected: str
) -> None:
    keep(storage, "run", **changes)

    status = check_result_status(
        storage, "run", ["val_loss"], max_age_hours=2, now=COMPLETED_AT + HOUR
    )

    assert status.value == expected


def test_age_counts_only_where_it_is_asked_for(storage: LocalStorage) -> None:
    keep(storage, "run")
    later = COMPLETED_AT + 3 * HOUR

    assert check_result_status(storage, "run", now=later) is ResultStatus.COMPLETE
    assert check_result_status(storage, "run", (), 2, now=later) is ResultStatus.STALE


def test_what_has_no_record_is_missing_and_what_cannot_be_read_partial(
    storage: LocalStorage,
) -> None:
    storage.write("e1/records/damaged.1.yaml", b"version: [")
    storage.write("e1/jobs/begun.1.yaml", b"attempt: 1\n")

    statuses = {one: check_result_status(storage, one) for one in ("damaged", "begun", "never")}

    assert summarize_status_map(statuses) == {
        "complete": 0,
        "partial": 1,
        "stale": 0,
        "missing": 2,
    }


def test_the_newest_attempt_that_came_to_an_end_speaks(storage: LocalStorage) -> None:
    keep(storage, "run", attempt=1, metrics={})
    keep(storage, "run", attempt=2)
    keep(storage, "run", attempt=3, status="cancelled")

    assert check_result_status(storage, "run", ["val_loss"]) is ResultStatus.COMPLETE


def test_configs_are_left_whose_results_do_not_serve(storage: LocalStorage) -> None:
    keep(storage, "done")
    keep(storage, "other", experiment_id="e2")
    keep(storage, "half", metrics={})
    configs: list[dict[str, Any]] = [
        {"run_id": "done", "lr": 0.1},
        {"run_id": "half", "experiment_id": "e1"},
        {"run_id": "other"},
        {"run_id": "never"},
    ]

    left, statuses = filter_configs_by_status(storage, configs, required_metrics=["val_loss"])
    lax, _ = filter_configs_by_status(
        storage, configs, {ResultStatus.COMPLETE, ResultStatus.PARTIAL}, ["val_loss"]
    )
    nowhere, none = filter_configs_by_status(None, configs)

    assert [one["run_id"] for one in left] == ["half", "never"]
    assert [status.value for status in statuses.values()] == [
        "complete",
        "partial",
        "complete",
        "missing",
    ]
    assert [one["run_id"] for one in lax] == ["never"]
    assert nowhere == configs
    assert set(none.values()) == {ResultStatus.MISSING}


def test_configs_without_a_run_id_are_all_named(storage: LocalStorage) -> None:
    with pytest.raises(UsageProblems, match=r"configs\[0\] has no run_id; configs\[2\] has no"):
        filter_configs_by_status(storage, [{}, {"run_id": "a"}, {"run_id": ""}])
