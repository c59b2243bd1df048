"""The markers that the words of an experiment stand for."""

from __future__ import annotations

MARKERS = {
    "gpuexp_experiment": "experiment(experiment_id, claim=, success_criteria=, judged=): "
    "what the module claims and what would bear it out.",
    "gpuexp_seeds": "seeds(n | [ints]): the seeds of a handler's replicates.",
    "gpuexp_grid": "grid(name=[...], exclude=, only=): the product of these axes.",
    "gpuexp_paired": "paired(name=[...], exclude=, only=): axes that move together, as zip does.",
    "gpuexp_cases": "cases([{...}, ...], exclude=, only=): these choices of parameters.",
    "gpuexp_tier": "tier(name, gpus=, timeout=, retries=, on=, or_tier=): the machine that a "
    "handler asks for, and when its runs are attempted again.",
    "gpuexp_criterion": "criterion(handler, over=): a judgement over stored results.",
}
