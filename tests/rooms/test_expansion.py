from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.expansion import expand, read_order
from pytest_gpuexp.orders import Order
from pytest_gpuexp.stages import StageConfig

GROUPS = {
    "config": "_target_: train.py::main\noptim: {lr: 0.1}\n",
    "models/gnn/standard": "name: gnn\nnum_layers: 2\nwidth: ${data.nodes}\n",
    "models/attention/multi_layer": "name: attention\nnum_layers: 2\n",
    "models/own": "# @package _global_\nmodel: {name: own}\n",
    "data/sbm_default": "nodes: 10\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("def main(config): pass\n")
    for name, text in GROUPS.items():
        file = tmp_path / "groups" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def expanded(folder: Path, base: object = None, *, grouped: bool = True, **fields: Any) -> Order:
    given = {"handler": "train.py::main", **fields}
    groups = folder / "groups" if grouped else None
    return expand(StageConfig(name="s", **given), base or {}, groups=groups, folder=folder)


def test_groups_are_composed_and_dotted_keys_override_them(folder: Path) -> None:
    order = expanded(
        folder,
        architectures=["models/gnn/standard", "models/attention/multi_layer"],
        datasets=["data/sbm_default"],
        hyperparameter_space={"learning_rate": [1e-4, 1e-3], "model.num_layers": [4, 8]},
        seeds=[1, 2, 3],
    )

    assert len(order.requests) == 24
    assert [one.seed for one in order.requests[:4]] == [1, 2, 3, 1]
    assert order.requests[0].parameters == {
        "model.name": "gnn",
        "model.num_layers": 4,
        "model.width": 10,
        "data.nodes": 10,
        "learning_rate": 1e-4,
    }
    assert order.requests[-1].parameters["model.name"] == "attention"
    assert len({one.label for one in order.requests}) == 24


def test_a_base_config_may_be_a_name_among_the_groups(folder: Path) -> None:
    order = expanded(folder, "config", handler="", architectures=["models/own"])

    assert order.requests[0].parameters == {"optim.lr": 0.1, "model.name": "own"}
    assert order.requests[0].function == "main"


def test_an_interpolation_sees_what_overrides_and_seed_have_come_to(folder: Path) -> None:
    base = OmegaConf.create({"lr": 1, "twice": "${lr}-${seed}", "optim": {"lr": "${lr}"}})

    order = expanded(folder, base, grouped=False, hyperparameter_space={"lr": [2]}, seeds=[7, 8])

    assert [one.parameters["twice"] for one in order.requests] == ["2-7", "2-8"]
    assert order.requests[0].parameters["optim.lr"] == 2


def test_without_groups_architectures_and_datasets_are_parameters(folder: Path) -> None:
    order = expanded(folder, {"depth": 1}, grouped=False, architectures=["gnn"], datasets=["d"])

    assert order.requests[0].parameters == {"depth": 1, "architecture": "gnn", "dataset": "d"}
    assert order.requests[0].label == "architecture:gnn-dataset:d-seed:0"


def test_paths_of_the_project_are_rebased_and_others_stay(folder: Path) -> None:
    base = {"data": {"root": folder / "data" / "x", "cache": "/elsewhere"}}

    order = expanded(folder, base, grouped=False)

    assert order.requests[0].parameters == {"data.root": "data/x", "data.cache": "/elsewhere"}


def test_an_override_of_a_whole_group_takes_its_place(folder: Path) -> None:
    base = {"model": {"name": "a", "width": 3}}

    order = expanded(folder, base, grouped=False, hyperparameter_space={"model": [{"name": "b"}]})

    assert order.requests[0].parameters == {"model": {"name": "b"}}


@pytest.mark.parametrize(
    ("base", "fields", "told"),
    [
        ({"a": "${oc.env:HOME}"}, {}, "a: '${oc.env:HOME}' asks the environment"),
        ({"a": {"b": "${nowhere}"}}, {}, "a.b: Interpolation key 'nowhere' not found"),
        ({"wandb": {"api_key": "abc"}}, {}, "wandb.api_key: it looks like a secret"),
        ({"a": "???"}, {}, "a: it is missing"),
        ({}, {"handler": ""}, "_target_"),
        ({}, {"gpu_type": "a100"}, "gpu_type: 'a100' is not a tier (debug, fast, h100, multi, st"),
        ({}, {"architectures": ["models/gnn/stanard"]}, "beside it are: models/gnn/standard"),
        ({}, {"architectures": ["config"]}, "'config' is of no group; put it into a folder there"),
        ({"a": 1}, {"hyperparameter_space": {"a.b": [1]}}, "a.b: a is 1, which has nothing in it"),
    ],
)
def test_what_no_worker_could_be_given_is_refused_with_its_key(
    folder: Path, base: object, fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageProblems) as caught:
        expanded(folder, base, grouped="architectures" in fields, **fields)

    assert told in str(caught.value)


def test_what_is_refused_is_not_told_as_a_repetition_too(folder: Path) -> None:
    with pytest.raises(UsageProblems) as caught:
        expanded(
            folder,
            {"a": "${oc.env:HOME}"},
            grouped=False,
            architectures=["x", "y"],
            hyperparameter_space={"lr": [1, 2]},
        )

    assert [one.partition(":")[0] for one in caught.value.problems] == ["a"]


def test_a_value_that_varies_is_its_variants_own_where_another_one_is_the_seed(
    folder: Path,
) -> None:
    order = expanded(
        folder, grouped=False, hyperparameter_space={"init_seed": [100, "${seed}"]}, seeds=3
    )

    assert [one.variant for one in order.requests] == [{"init_seed": 100}] * 3 + [{}] * 3
    assert [one.parameters["init_seed"] for one in order.requests] == [100] * 3 + [0, 1, 2]


@pytest.mark.parametrize(
    "fields",
    [
        {"architectures": ["models/a", "models/b"]},
        {"hyperparameter_space": {"model.out": ["a/${seed}", "b/${seed}"]}},
    ],
)
def test_variants_that_differ_but_in_what_is_made_of_the_seed_are_refused(
    folder: Path, fields: dict[str, Any]
) -> None:
    for name in ("a", "b"):
        (folder / f"groups/models/{name}.yaml").write_text(f"out: {name}/${{seed}}\n")

    with pytest.raises(UsageProblems) as caught:
        expanded(folder, seeds=2, **fields)

    [told] = caught.value.problems
    assert "differ but in what is made of the seed (model.out), and would be summed up" in told
    assert told.count("model.out:" if "hyper" in str(fields) else "architecture:models_") == 2


def test_two_variants_that_come_to_the_same_are_refused(folder: Path) -> None:
    (folder / "groups/models/gnn/copy.yaml").write_text(GROUPS["models/gnn/standard"])

    with pytest.raises(UsageProblems, match="come to the same config; take one of them out"):
        expanded(
            folder,
            architectures=["models/gnn/standard", "models/gnn/copy"],
            datasets=["data/sbm_default"],
        )


def test_a_stage_file_brings_its_base_config_and_groups(folder: Path) -> None:
    (folder / "one.yaml").write_text(
        "handler: train.py::main\nbase_config_path: groups\nbase_config: {x: 1}\n"
        "architectures: [models/attention/multi_layer]\ngpu_type: debug\ntimeout_seconds: 5\n"
    )

    order = read_order(folder / "one.yaml", folder=folder)

    assert order.requests[0].parameters == {
        "x": 1,
        "model.name": "attention",
        "model.num_layers": 2,
    }
    assert (order.stage, order.gpu_type, order.timeout_seconds) == ("one", "debug", 5)


def test_ten_thousand_runs_are_planned_in_a_moment(folder: Path) -> None:
    space = {"lr": [index / 1000 for index in range(1000)], "model.depth": [1, 2]}
    began = time.process_time()

    order = expanded(
        folder, {"model": {"width": 3}}, hyperparameter_space=space, seeds=5, grouped=False
    )

    assert len(order.requests) == 10_000
    assert time.process_time() - began < 20  # about 0.3 s; far more would be another algorithm
