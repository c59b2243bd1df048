"""The words with which an experiment is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import pytest

from pytest_gpuexp.records import Plain, Threshold

Predicate = Callable[..., bool] | Mapping[str, Plain] | Iterable[Mapping[str, Plain]]


def experiment(
    experiment_id: str,
    *,
    claim: str = "",
    success_criteria: Mapping[str, Threshold] | None = None,
    judged: Literal["any", "every"] = "any",
) -> pytest.MarkDecorator:
    """Declare a module as the experiment ``experiment_id``, by its ``pytestmark``.

    ``success_criteria`` maps metrics to ``at_least(...)`` or ``at_most(...)``; they judge each
    variant's mean over its seeds. With ``judged="any"`` one variant must meet all of them, with
    ``"every"`` each must.
    """
    return pytest.mark.gpuexp_experiment.with_args(
        experiment_id, claim=claim, success_criteria=dict(success_criteria or {}), judged=judged
    )


def seeds(values: int | Iterable[int]) -> pytest.MarkDecorator:
    """Run every variant with these seeds; ``seeds(3)`` is 0, 1, 2."""
    return pytest.mark.gpuexp_seeds.with_args(values)


def grid(
    *, exclude: Predicate | None = None, only: Predicate | None = None, **axes: Iterable[Plain]
) -> pytest.MarkDecorator:
    """Run every combination of these values; several grids multiply.

    Dotted names go in as ``grid(**{"model.num_layers": [4, 8]})`` and come out nested in
    ``runner.config``. ``exclude`` drops points and ``only`` keeps them: a function of the
    parameters that it names, a mapping to match, or a list of mappings.
    """
    return pytest.mark.gpuexp_grid.with_args(axes=axes, exclude=exclude, only=only)


def paired(
    *, exclude: Predicate | None = None, only: Predicate | None = None, **axes: Iterable[Plain]
) -> pytest.MarkDecorator:
    """Run the first values of all axes together, then the second ones, as ``zip`` does."""
    return pytest.mark.gpuexp_paired.with_args(axes=axes, exclude=exclude, only=only)


def cases(
    rows: Iterable[Mapping[str, Plain]],
    *,
    exclude: Predicate | None = None,
    only: Predicate | None = None,
) -> pytest.MarkDecorator:
    """Run exactly these choices of parameters, each a mapping with the same names."""
    return pytest.mark.gpuexp_cases.with_args(rows, exclude=exclude, only=only)


def tier(
    name: str | None = None,
    *,
    gpus: int | None = None,
    timeout: str | float | None = None,
    retries: int = 0,
    on: Iterable[str] | None = None,
    or_tier: str | None = None,
) -> pytest.MarkDecorator:
    """Ask for a machine: a tier's name or a GPU string, a number of GPUs, a timeout (``"10m"``).

    A run whose attempt ends in one of the statuses ``on`` (of preempted, oom, timeout, failed,
    lost; without it preempted and oom) is attempted again, up to ``retries`` times in a session;
    after an oom on ``or_tier``, where that is given.
    """
    return pytest.mark.gpuexp_tier.with_args(
        name, gpus=gpus, timeout=timeout, retries=retries, on=on, or_tier=or_tier
    )


def criterion(
    handler: Callable[..., Any], *, over: Literal["run", "seed", "all"] = "seed"
) -> pytest.MarkDecorator:
    """Make a function a judgement over the stored results of ``handler``.

    Its first argument gets the results as a mapping from metric to numpy array: over ``"seed"``
    one judgement a variant, shape (seeds,); over ``"run"`` one a run, scalars; over ``"all"`` one
    judgement of all runs, shape (runs,). Further arguments are pytest fixtures.
    """
    return pytest.mark.gpuexp_criterion.with_args(handler, over=over)
