"""Contender: Ray Tune, two trials at a time, a fresh actor a trial."""

from __future__ import annotations

from typing import Any

import ray
from ray import tune

from bench.task import Task, from_command_line


def search(task: Task) -> None:
    """Try every seed once, and fail if a trial did."""

    def trainable(config: dict[str, Any]) -> dict[str, float]:
        return {"x": task.body()(config["seed"])}

    tuner = tune.Tuner(
        trainable,
        param_space={"seed": tune.grid_search(list(range(task.runs)))},
        tune_config=tune.TuneConfig(reuse_actors=False),
        run_config=tune.RunConfig(storage_path=str(task.folder / "tune"), verbose=0),
    )
    results = tuner.fit()
    if results.num_errors or len(results) != task.runs:
        raise SystemExit(f"{results.num_errors} of {task.runs} trials failed")


def main() -> None:
    """Start a Ray of two cores that only this machine can reach, search, and shut it down."""
    task = from_command_line()
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100_000_000,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(task.folder / "ray"),
    )
    try:
        search(task)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
