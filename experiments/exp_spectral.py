"""C3: can the communities of a graph be restored from an adjacency full of errors?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import ttest_1samp
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from experiments.denoisers import ARCHITECTURES, Denoiser
from experiments.graphs import (
    Graphs,
    ask_oracle,
    draw_graphs,
    paint,
    pairs,
    relative_error,
    truncate,
)
from pytest_gpuexp import (
    ExperimentRunner,
    Replicates,
    at_least,
    at_most,
    criterion,
    experiment,
    grid,
    seeds,
    tier,
)

pytestmark = experiment(
    "c3-spectral-denoising",
    claim="A trained denoiser restores noisy SBM graphs better than truncating their spectrum.",
    success_criteria={
        # `failure` is what truncation reaches untrained, `target` what the oracle reaches.
        "auc": at_least(0.91, target=0.95, failure=0.873),
        "relative_error": at_most(0.58, target=0.485, failure=0.66),
    },
    judged="every",
)

LAYERS: dict[str, Any] = {"model.num_layers": [1, 2]}
TRAIN, HELD_OUT = 256, 128  # graphs
EPOCHS, BATCH, LR = 20, 16, 3e-2


def pair_loss(logits: Tensor, graphs: Graphs) -> Tensor:
    """Return the mean cross-entropy of a pair, in nats."""
    return functional.binary_cross_entropy_with_logits(pairs(logits), pairs(graphs.clean))


@seeds(4)
@grid(architecture=["spectral", "gnn"], **LAYERS)
@tier("debug", timeout="10m")
def exp_denoise(
    runner: ExperimentRunner, architecture: str, learning_rate: float = LR
) -> dict[str, Any]:
    """Train on 256 graphs, judge by 128 others, beside truncation and an oracle."""
    # Drawn before anything else: with one seed, all variants see the same graphs.
    graphs = draw_graphs(TRAIN + HELD_OUT, runner.device)
    held_out = graphs.take(slice(TRAIN, None))
    layers = runner.config["model"]["num_layers"]
    model = Denoiser(ARCHITECTURES[architecture](layers)).to(runner.device)
    steps = EPOCHS * (TRAIN // BATCH)
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(TRAIN).split(BATCH):
            chosen = graphs.take(batch.to(runner.device))
            loss = pair_loss(model(chosen), chosen)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        runner.log_metrics({"train_loss": loss}, step=epoch)

    model.eval()
    with torch.no_grad():
        logits = model(held_out)
    oracle = ask_oracle(held_out)
    guesses = {
        "noisy_": held_out.noisy,
        "truncated_": truncate(held_out),
        "": logits.sigmoid(),
        "oracle_": oracle.sigmoid(),
    }
    edges = pairs(held_out.clean).flatten().cpu().numpy()
    metrics: dict[str, Any] = {
        "val_loss": pair_loss(logits, held_out),
        "oracle_loss": pair_loss(oracle, held_out),
    }
    for name, guess in guesses.items():
        metrics[f"{name}auc"] = roc_auc_score(edges, pairs(guess).flatten().cpu().numpy())
        metrics[f"{name}relative_error"] = relative_error(guess, held_out.clean)
    assert metrics["oracle_loss"] < metrics["val_loss"], "better than the best: a leak"
    return {
        "finding": f"AUC {metrics['auc']:.3f} after {metrics['noisy_auc']:.3f} as reported; "
        f"{metrics['val_loss'] - metrics['oracle_loss']:.3f} nats a pair short of the oracle",
        "metrics": metrics,
        "artifacts": [runner.results.save_artifact("denoised.png", paint(held_out, guesses))],
    }


@criterion(exp_denoise, over="seed")
def crit_beats_noisy_input(replicates: Replicates) -> None:
    assert (replicates["relative_error"] < 0.9 * replicates["noisy_relative_error"]).all()


@criterion(exp_denoise, over="seed")
def crit_beats_truncation(replicates: Replicates) -> None:
    assert (replicates["auc"] > replicates["truncated_auc"] + 0.03).all()


@criterion(exp_denoise, over="all")
def crit_second_layer_pays(replicates: Replicates) -> None:
    """Averaged over both architectures, the loss falls, by a t-test paired by seed."""
    one, two = (val_loss(replicates, "model.num_layers", layers) for layers in (1, 2))
    assert ttest_1samp(one - two, 0, alternative="greater").pvalue < 0.05


@pytest.mark.xfail(
    reason="0.021 ± 0.003 nats worse over 15 seeds, and no better with three times the training: "
    "one curve serves all graphs (shown each graph's leading eigenvalues it is 0.013 ± 0.001 worse)"
    " and scales whole eigenvectors, never single nodes"
)
@criterion(exp_denoise, over="all")
def crit_spectrum_suffices(replicates: Replicates) -> None:
    """Scaling the spectrum is at most 0.01 nats worse than message passing, with 95% confidence."""
    spectral, gnn = (val_loss(replicates, "architecture", name) for name in ("spectral", "gnn"))
    assert ttest_1samp(spectral - gnn, 0, alternative="less").confidence_interval(0.95).high < 0.01


def val_loss(replicates: Replicates, name: str, value: object) -> NDArray[np.float64]:
    """Return the mean over the variants with this value, shape (seeds,).

    The graphs are the same for all variants with one seed: differences of these means are paired,
    and a t-test of them asks only whether the seeds agree.
    """
    whole = not replicates.missing and len(set(replicates.seeds)) > 1
    chosen = [v for v in replicates.variants if whole and v.results[0].parameters[name] == value]
    if not chosen:
        pytest.skip(f"compares values of {name} over two seeds or more, all of them completed")
    means: NDArray[np.float64] = np.mean([v["val_loss"] for v in chosen], axis=0)
    return means
