"""What a run in progress has said last."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_gpuexp.glimpse import latest


def test_the_last_whole_point_is_told(tmp_path: Path) -> None:
    points = [
        '{"step": 1, "time": 1.0, "metrics": {"loss": 0.5}}',
        '{"step": 2, "time": 2.0, "metrics": {"loss": 0.25, "acc": 0.9}}',
        '{"step": 3, "ti',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(points))
    (tmp_path / "log.txt").write_text("a line\n")

    assert latest(tmp_path) == "step 2  loss 0.25  acc 0.9"


def test_without_metrics_the_last_line_of_the_log_is(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(b"x" * 9000 + b"\n\x1b[31mepoch 3\x1b[0m\n\nhalf a li")

    assert latest(tmp_path) == "epoch 3"


@pytest.mark.parametrize("line", ["nonsense", '{"step": 1}', '{"step": 1, "metrics": {"x": "y"}}'])
def test_what_is_no_point_is_passed_over(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(line + "\n")

    assert latest(tmp_path) == ""


def test_a_run_that_has_said_nothing_says_nothing(tmp_path: Path) -> None:
    assert latest(tmp_path / "absent") == ""
