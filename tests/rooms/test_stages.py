from __future__ import annotations

from pathlib import Path

import pytest

from pytest_gpuexp import at_least
from pytest_gpuexp.errors import StorageError, UsageProblems
from pytest_gpuexp.stages import StageConfig, read_stage


def test_a_stage_tells_its_sizes() -> None:
    stage = StageConfig(
        name="s",
        architectures=["a", "b"],
        datasets=["d"],
        hyperparameter_space={"lr": [1, 2], "depth": [1, 2, 3]},
        seeds=5,
    )

    assert stage.size == 60
    assert stage.told() == "60 runs: 2 architectures x 1 datasets x 2 lr x 3 depth x 5 seeds"


def test_all_that_is_wrong_with_a_stage_is_told_at_once() -> None:
    with pytest.raises(UsageProblems) as caught:
        StageConfig(
            name="a/b",
            architectures=["a", "a", ""],
            hyperparameter_space={"lr": [], "seed": [1]},
            seeds=["x"],  # type: ignore[list-item]
            success_criteria={"auc": 3},
            gpu_type=" ",
            timeout_seconds=-1,
            metric="loss",
        )

    assert str(caught.value) == (
        "StageConfig: 10 problems: name: 'a/b' names a file: letters, digits, '-', '_', '.'; "
        "architectures[2]: '' is no name; architectures: 'a' is given twice; "
        "hyperparameter_space: lr is empty; give it at least one value, or leave it out; "
        "hyperparameter_space: 'seed' cannot name a parameter; write @seeds(...) or --seed; "
        "seeds: 'x' (str) is not an int; success_criteria: auc: 3 is not a mapping with "
        "acceptable, target, failure, direction; gpu_type: ' ' is no name; "
        "timeout_seconds: -1 is not between 0 and 24 hours; "
        "direction: say which loss is better, at_least or at_most"
    )


def test_the_aim_is_the_named_metric_else_the_first_criterion() -> None:
    criteria = {"auc": at_least(0.9), "f1": at_least(0.5)}

    assert StageConfig(name="s").aim is None
    assert StageConfig(name="s", success_criteria=criteria).aim == ("auc", "at_least")
    assert StageConfig(name="s", success_criteria=criteria, metric="f1").aim == ("f1", "at_least")
    assert StageConfig(name="s", metric="loss", direction="at_most").aim == ("loss", "at_most")


def test_a_stage_file_is_called_as_it_says_else_as_its_file(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("handler: a.b\nseeds: 2\nbase_config: {lr: 1e-4}\n")

    read = read_stage(tmp_path / "one.yaml")

    assert read.stage == StageConfig(name="one", handler="a.b", seeds=2)
    assert read.base_config == {"lr": 0.0001}


def test_unknown_keys_of_a_stage_file_are_told_with_its_other_problems(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("sedes: 3\nseeds: x\n")

    with pytest.raises(UsageProblems, match=r"2 problems: sedes is not known \(name, .*; seeds is"):
        read_stage(tmp_path / "one.yaml")
    with pytest.raises(StorageError, match=r"two\.yaml cannot be read: No such file"):
        read_stage(tmp_path / "two.yaml")
