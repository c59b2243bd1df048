"""Experiments as tests: a pytest plugin for machine-learning experiments.

In an experiment's file::

    from pytest_gpuexp import at_least, criterion, experiment, grid, seeds, tier
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Attempt",
    "CloudRunnerFactory",
    "ExperimentCoordinator",
    "ExperimentResult",
    "ExperimentRunner",
    "LocalRunner",
    "ModalRunner",
    "Outcome",
    "Replicates",
    "ResultsWriter",
    "StageConfig",
    "StageResult",
    "at_least",
    "at_most",
    "cases",
    "criterion",
    "experiment",
    "grid",
    "paired",
    "seeds",
    "tier",
]

_HOMES = {
    "Attempt": "records",
    "CloudRunnerFactory": "cloud",
    "ExperimentCoordinator": "coordinator",
    "ExperimentResult": "records",
    "ExperimentRunner": "standalone",
    "LocalRunner": "cloud",
    "ModalRunner": "cloud",
    "Outcome": "records",
    "Replicates": "replicates",
    "ResultsWriter": "written_results",
    "StageConfig": "stages",
    "StageResult": "stage_results",
    "at_least": "criteria",
    "at_most": "criteria",
    "cases": "marks",
    "criterion": "marks",
    "experiment": "marks",
    "grid": "marks",
    "paired": "marks",
    "seeds": "marks",
    "tier": "marks",
}

if TYPE_CHECKING:
    from pytest_gpuexp.cloud import CloudRunnerFactory, LocalRunner, ModalRunner
    from pytest_gpuexp.coordinator import ExperimentCoordinator
    from pytest_gpuexp.criteria import at_least, at_most
    from pytest_gpuexp.marks import cases, criterion, experiment, grid, paired, seeds, tier
    from pytest_gpuexp.records import Attempt, ExperimentResult, Outcome
    from pytest_gpuexp.replicates import Replicates
    from pytest_gpuexp.stage_results import StageResult
    from pytest_gpuexp.stages import StageConfig
    from pytest_gpuexp.standalone import ExperimentRunner
    from pytest_gpuexp.written_results import ResultsWriter


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: the plugin itself needs none of them."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(f"pytest_gpuexp.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
