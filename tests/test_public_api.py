"""What a user may import stays as it is; all else may change."""

from __future__ import annotations

import inspect

import pytest

import pytest_gpuexp

PUBLIC = {
    "Attempt": "pytest_gpuexp.records",
    "CloudRunnerFactory": "pytest_gpuexp.cloud",
    "ExperimentCoordinator": "pytest_gpuexp.coordinator",
    "ExperimentResult": "pytest_gpuexp.records",
    "ExperimentRunner": "pytest_gpuexp.standalone",
    "LocalRunner": "pytest_gpuexp.cloud",
    "ModalRunner": "pytest_gpuexp.cloud",
    "Outcome": "pytest_gpuexp.records",
    "Replicates": "pytest_gpuexp.replicates",
    "ResultsWriter": "pytest_gpuexp.written_results",
    "StageConfig": "pytest_gpuexp.stages",
    "StageResult": "pytest_gpuexp.stage_results",
    "at_least": "pytest_gpuexp.criteria",
    "at_most": "pytest_gpuexp.criteria",
    "cases": "pytest_gpuexp.marks",
    "criterion": "pytest_gpuexp.marks",
    "experiment": "pytest_gpuexp.marks",
    "grid": "pytest_gpuexp.marks",
    "paired": "pytest_gpuexp.marks",
    "seeds": "pytest_gpuexp.marks",
    "tier": "pytest_gpuexp.marks",
}


def test_the_public_names_are_these() -> None:
    assert sorted(pytest_gpuexp.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_public_name_resolves_and_is_documented(name: str) -> None:
    thing = getattr(pytest_gpuexp, name)

    assert thing.__module__ == PUBLIC[name]
    assert inspect.getdoc(thing)


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("experiment", "(experiment_id, *, claim, success_criteria, judged)"),
        ("seeds", "(values)"),
        ("grid", "(*, exclude, only, **axes)"),
        ("paired", "(*, exclude, only, **axes)"),
        ("cases", "(rows, *, exclude, only)"),
        ("tier", "(name, *, gpus, timeout, retries, on, or_tier)"),
        ("criterion", "(handler, *, over)"),
        ("at_least", "(acceptable, *, target, failure)"),
        ("at_most", "(acceptable, *, target, failure)"),
    ],
)
def test_the_words_take_what_they_take(name: str, signature: str) -> None:
    bare = inspect.signature(getattr(pytest_gpuexp, name))
    parameters = [
        parameter.replace(default=parameter.empty, annotation=parameter.empty)
        for parameter in bare.parameters.values()
    ]

    assert str(inspect.Signature(parameters)) == signature


def test_a_wrong_name_lists_the_right_ones() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'gird'; it has \['Attempt', "):
        pytest_gpuexp.gird  # noqa: B018
