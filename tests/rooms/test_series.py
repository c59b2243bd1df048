"""A run's metrics over its steps."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.series import SeriesWriter, last_values


def a_writer(folder: Path) -> SeriesWriter:
    return SeriesWriter(folder / "run" / "metrics.jsonl", lambda: 1000.12345)


def points(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "run" / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_nothing_is_written_before_the_first_point(tmp_path: Path) -> None:
    a_writer(tmp_path).close()

    assert list(tmp_path.iterdir()) == []


def test_a_point_is_one_line_with_step_and_time(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)

    writer.append({"loss": 0.5, "größe": 1}, 7)

    assert points(tmp_path) == [{"step": 7, "time": 1000.123, "metrics": {"loss": 0.5, "größe": 1}}]
    writer.close()


def test_without_a_step_the_next_one_is_taken(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)

    steps = [writer.append({"a": 1}, step) for step in (None, None, 10, None, 3, None)]

    assert steps == [0, 1, 10, 11, 3, 12]
    writer.close()


def test_a_point_is_on_disk_before_the_writer_is_closed(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)

    writer.append({"a": 1}, None)

    assert last_values(tmp_path / "run" / "metrics.jsonl") == {"a": 1}
    writer.close()


def test_a_torn_last_line_and_foreign_lines_cost_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"metrics": {"a": 1}}\nmine!\n[1]\n{"metrics": {"b": 2}}\n{"metrics": {"a": 9')

    assert last_values(path) == {"a": 1, "b": 2}


def test_no_file_is_no_metrics(tmp_path: Path) -> None:
    assert last_values(tmp_path / "metrics.jsonl") == {}


def test_values_that_are_not_finite_come_back(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    writer.append({"nan": math.nan, "inf": -math.inf}, None)
    writer.close()

    last = last_values(tmp_path / "run" / "metrics.jsonl")

    assert math.isnan(last["nan"])
    assert last["inf"] == -math.inf


def test_a_descriptor_that_was_closed_and_given_away_is_not_written_to(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    writer.append({"a": 1}, None)
    path = str(tmp_path / "run" / "metrics.jsonl")
    [held] = [
        n for n in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{n}") == path
    ]
    other = os.open(tmp_path / "other.txt", os.O_CREAT | os.O_RDWR)
    os.dup2(other, int(held))

    writer.append({"a": 2}, None)
    writer.close()
    os.close(other)
    os.close(int(held))

    assert (tmp_path / "other.txt").read_bytes() == b""
    assert [point["metrics"]["a"] for point in points(tmp_path)] == [1, 2]


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.integers() | st.floats(allow_nan=False)))
)
def test_what_is_read_back_is_what_the_writer_knows(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, float]]
) -> None:
    folder = tmp_path_factory.mktemp("series")
    writer = a_writer(folder)

    for metrics in values:
        writer.append(metrics, None)
    writer.close()

    assert last_values(folder / "run" / "metrics.jsonl") == writer.last
