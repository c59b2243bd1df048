"""C1: can a small MLP tell handwritten digits apart?"""

from __future__ import annotations

import io
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

from pytest_gpuexp import (
    ExperimentRunner,
    Replicates,
    at_least,
    criterion,
    experiment,
    grid,
    seeds,
    tier,
)

Digits: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64]]

pytestmark = experiment(
    "c1-digits-mlp",
    claim="A two-layer MLP separates handwritten digits.",
    success_criteria={"test_accuracy": at_least(0.93, target=0.97, failure=0.85)},
)

EPOCHS = 30
BATCH = 64


@pytest.fixture(scope="session")
def digits() -> Digits:
    """Return 1,797 images, shape (images, 64) with values in [0, 1], and what they show."""
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels.astype(np.int64)


@seeds(3)
@grid(lr=[1e-3, 1e-2], width=[32, 128])
@tier("debug", timeout="10m")
def exp_mlp(
    runner: ExperimentRunner, digits: Digits, seed: int, lr: float, width: int
) -> dict[str, Any]:
    """Train the MLP on three quarters of the digits, test it on the rest.

    The seed draws the split too: the spread over seeds is then that of the whole procedure, not
    of the initial weights alone (Bouthillier et al. 2021, arXiv:2103.03098).
    """
    split = train_test_split(*digits, test_size=0.25, stratify=digits[1], random_state=seed)
    train_x, test_x, train_y, test_y = (torch.from_numpy(part).to(runner.device) for part in split)
    model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10)).to(runner.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    for epoch in range(EPOCHS):
        losses = []
        for batch in torch.randperm(len(train_x), device=runner.device).split(BATCH):
            loss = functional.cross_entropy(model(train_x[batch]), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        runner.log_metrics({"train_loss": np.mean(losses)}, step=epoch)

    with torch.no_grad():
        predicted = model(test_x).argmax(dim=1).cpu().numpy()
    truth = test_y.cpu().numpy()
    accuracy = float((predicted == truth).mean())
    runner.log_metrics({"test_accuracy": accuracy})
    assert accuracy > 0.5, "little better than guessing, which gives 0.1"

    parameters = sum(weights.numel() for weights in model.parameters())
    picture = draw_confusion(confusion_matrix(truth, predicted))
    return {
        "finding": f"{accuracy:.1%} on unseen digits, with {parameters:,} parameters",
        "metrics": {"parameters": parameters},
        "artifacts": [runner.results.save_artifact("confusion.png", picture)],
    }


@criterion(exp_mlp, over="seed")
def crit_stable(replicates: Replicates) -> None:
    """A variant whose accuracy hangs on the seed is not worth a recommendation."""
    assert replicates["test_accuracy"].std(ddof=1) < 0.03


def draw_confusion(counts: NDArray[np.int64]) -> bytes:
    """Return a PNG of ``counts``, shape (digits shown, digits read)."""
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.log1p(counts), cmap="Blues", vmax=8)
    for (shown, read), count in np.ndenumerate(counts):
        axes.text(read, shown, str(count or ""), ha="center", va="center", size=7)
    axes.set(xlabel="read as", ylabel="shown", xticks=range(10), yticks=range(10))
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()
