"""What a handler holds in its hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_gpuexp.errors import GpuexpError, HandlerReturnInvalid
from pytest_gpuexp.records import Attempt, Outcome
from pytest_gpuexp.runner import ExperimentRunner
from tests.rooms.attempts import an_attempt


class Track:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, float], int]] = []

    def start(self, attempt: Attempt) -> None:
        raise NotImplementedError

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        self.seen.append((dict(metrics), step))

    def finish(self, outcome: Outcome) -> None:
        raise NotImplementedError


def a_runner(folder: Path, **changes: Any) -> ExperimentRunner:
    return ExperimentRunner(an_attempt(), config={"lr": 0.1, "seed": 3}, folder=folder, **changes)


def test_a_runner_knows_its_run(tmp_path: Path) -> None:
    runner = a_runner(tmp_path)

    assert (runner.experiment_id, runner.run_id) == ("e1", "exp_fit-0123456789abcdef")
    assert (runner.attempt, runner.seed, runner.stub) == (1, 3, False)
    assert runner.config == {"lr": 0.1, "seed": 3}
    assert (runner.device, runner.devices) == ("cpu", ())


def test_a_leased_gpu_is_called_cuda(tmp_path: Path) -> None:
    runner = a_runner(tmp_path, devices=["GPU-1", "GPU-2"])

    assert (runner.device, runner.devices) == ("cuda", ("GPU-1", "GPU-2"))


def test_what_is_returned_outranks_what_was_logged_last(tmp_path: Path) -> None:
    runner = a_runner(tmp_path)

    runner.log_metrics({"loss": 0.9, "epochs": 1})
    runner.log_metrics({"loss": torch.tensor([0.5]), "epochs": np.int64(2)})
    runner.take_return({"metrics": {"loss": 0.4}})
    runner.close()

    assert runner.metrics == {"loss": 0.4, "epochs": 2}


def test_a_wrong_value_is_told_and_the_others_are_logged(tmp_path: Path) -> None:
    runner = a_runner(tmp_path)

    with pytest.raises(GpuexpError, match=r"^log_metrics: metric 'b' has shape \(3,\); reduce it"):
        runner.log_metrics({"a": 1.0, "b": np.zeros(3), "c": 2.0})
    runner.close()

    assert runner.metrics == {"a": 1.0, "c": 2.0}


@pytest.mark.parametrize("step", [2, np.int64(2), torch.tensor(2)])
def test_a_step_may_be_an_integer_of_any_library(tmp_path: Path, step: Any) -> None:
    track = Track()
    runner = a_runner(tmp_path, trackers=[track])

    runner.log_metrics({"a": 1.0}, step=step)
    runner.log_metrics({"a": 2.0})
    runner.close()

    assert track.seen == [({"a": 1.0}, 2), ({"a": 2.0}, 3)]


@pytest.mark.parametrize("step", [0.5, "3", True, torch.tensor(0.5)])
def test_a_step_that_is_no_integer_is_refused(tmp_path: Path, step: Any) -> None:
    runner = a_runner(tmp_path)

    with pytest.raises(GpuexpError, match=r"log_metrics: step=.* is not an int\."):
        runner.log_metrics({"a": 1.0}, step=step)

    assert runner.metrics == {}


def test_a_returned_artifact_must_be_there(tmp_path: Path) -> None:
    runner = a_runner(tmp_path)
    kept = runner.results.save_artifact("kept.txt", "x")

    with pytest.raises(HandlerReturnInvalid) as refusal:
        runner.take_return({"artifacts": [kept, "gone.txt"], "finding": "kept", "loss": 1.0})

    assert "unknown key 'loss'" in str(refusal.value)
    assert "artifact 'gone.txt' is not in " in str(refusal.value)
    assert "return what save_artifact gave" in str(refusal.value)
    assert runner.finding == "kept"


def test_a_value_that_is_not_finite_is_kept(tmp_path: Path) -> None:
    runner = a_runner(tmp_path)

    runner.log_metrics({"loss": float("inf")})
    runner.close()

    assert runner.metrics == {"loss": float("inf")}
