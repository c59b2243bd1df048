# %% [markdown]
# # A stage, cell by cell
#
# A notebook as a script: editors show its cells, and `tests/test_notebooks.py` runs it. A worker
# imports the function that it runs, so that stands in a module, not in a cell.

# %%
from pathlib import Path

from pytest_gpuexp import ExperimentCoordinator, ExperimentRunner, LocalRunner, StageConfig, at_most

Path("fitting.py").write_text(
    "def fit(runner, rate, seed):\n"
    "    error = rate + 0.01 * seed\n"
    "    assert error < 1, 'it does not learn'\n"
    "    return {'metrics': {'val_loss': error}}\n"
)

# %% One run
result = LocalRunner().run_experiment({"_target_": "fitting.py::fit", "rate": 0.25})
print(result.status, result.verdict, result.metrics)

# %% A stage
stage = StageConfig(
    name="rates",
    handler="fitting.py::fit",
    hyperparameter_space={"rate": [0.1, 0.5, 2.0]},
    seeds=2,
    success_criteria={"val_loss": at_most(0.2)},
)
print(stage.told())
stage_result = ExperimentCoordinator().run_stage(stage, parallelism=2)
for variant in stage_result.summary["variants"]:
    print(variant["name"], variant["metrics"].get("val_loss"))
print("best:", stage_result.best_config, stage_result.summary["best"]["interval_95"])


# %% Handlers of one experiment, here in the notebook
def e1_1_summary(runner: ExperimentRunner) -> dict[str, object]:
    runner.log_metrics({"best_loss": stage_result.best_metrics["val_loss"]})
    return {"finding": f"the best rate is {stage_result.best_config['rate']}"}


notebook = ExperimentRunner("c1-rates", success_criteria={"best_loss": at_most(0.2)})
notebook.register_handler("e1_1", e1_1_summary)
notebook.run_all()
print(notebook.finish().read_text())
