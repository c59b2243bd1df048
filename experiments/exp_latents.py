"""C2: do the latents of an autoencoder tell digits apart that it was never told of?"""

from __future__ import annotations

import io
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

from pytest_gpuexp import ExperimentRunner, Replicates, at_least, criterion, experiment, seeds, tier

Images: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int64]
Digits: TypeAlias = tuple[Images, Labels]

pytestmark = experiment(
    "c2-digit-latents",
    claim="Eight latents of an autoencoder cluster handwritten digits without labels.",
    success_criteria={"silhouette_score": at_least(0.18, target=0.25, failure=0.16)},
)

LATENTS = 8
EPOCHS = 60
BATCH = 64


@pytest.fixture(scope="session")
def digits() -> Digits:
    """Return 1,797 images, shape (images, 64) with values in [0, 1], and what they show."""
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels.astype(np.int64)


@tier("debug", timeout="10m")
def e1_1_latent_visualization(runner: ExperimentRunner, digits: Digits) -> dict[str, Any]:
    """Do unseen digits lie near their like in latent space?"""
    train_x, test_x, _, test_y = split(digits, runner.seed)
    _, latents = train_autoencoder(runner, train_x, test_x)
    # The claim is about the latents. t-SNE pulls groups apart by itself, so its own score is
    # reported beside them and judged by nobody.
    score, pixel_score = (silhouette_score(where, test_y) for where in (latents, test_x))
    plane = TSNE(max_iter=500, random_state=runner.seed).fit_transform(latents)
    return {
        "finding": f"silhouette {score:.2f} in {LATENTS} latents, {pixel_score:.2f} in 64 pixels",
        "metrics": {
            "silhouette_score": score,
            "pixel_silhouette_score": pixel_score,
            "tsne_silhouette_score": silhouette_score(plane, test_y),
        },
        "artifacts": [runner.results.save_artifact("tsne_plot.png", draw_plane(plane, test_y))],
    }


@seeds(3)
@tier("debug", timeout="10m")
def e1_2_linear_probe(runner: ExperimentRunner, digits: Digits, seed: int) -> dict[str, Any]:
    """How much of what a linear classifier finds in the pixels is left in the latents?"""
    train_x, test_x, train_y, test_y = split(digits, seed)
    pca = PCA(LATENTS).fit(train_x)
    flat = pca.inverse_transform(pca.transform(test_x))
    views = {
        "latent": train_autoencoder(runner, train_x, test_x),
        "pca": (pca.transform(train_x), pca.transform(test_x)),
        "pixel": (train_x, test_x),
    }
    accuracy, recall = {}, {}
    for name, (seen, unseen) in views.items():
        scale = seen.std(axis=0).mean()  # one number: the regularisation then treats all alike
        probe = LogisticRegression(max_iter=2000).fit(seen / scale, train_y)
        right = probe.predict(unseen / scale) == test_y
        accuracy[name] = right.mean()
        recall[name] = [right[test_y == digit].mean() for digit in range(10)]
    return {
        "finding": ", ".join(f"{name} {value:.1%}" for name, value in accuracy.items()),
        "metrics": {
            "pca_reconstruction_error": np.square(flat - test_x).mean(),
            **{f"{name}_probe_accuracy": value for name, value in accuracy.items()},
        },
        "artifacts": [runner.results.save_json_artifact("recall_by_digit.json", recall)],
    }


@criterion(e1_2_linear_probe, over="seed")
def crit_curved_beats_flat(replicates: Replicates) -> None:
    error, flat = replicates["reconstruction_error"], replicates["pca_reconstruction_error"]
    assert (error < 0.75 * flat).all()


@pytest.mark.xfail(
    reason="eight latents are too few: over 10 seeds the probe loses 4.3 ± 1.0 points to the "
    "pixels, with 16 latents 1.5 ± 1.0, with 32 latents 0.3 ± 0.6"
)
@criterion(e1_2_linear_probe, over="seed")
def crit_latents_keep_what_pixels_tell(replicates: Replicates) -> None:
    """A probe on the latents is at most one point worse than one on the pixels."""
    loss = replicates["pixel_probe_accuracy"] - replicates["latent_probe_accuracy"]
    assert loss.mean() < 0.01


def split(digits: Digits, seed: int) -> tuple[Images, Images, Labels, Labels]:
    """Return the images and labels to learn from, and 600 to judge by, in sklearn's order."""
    parts = train_test_split(*digits, test_size=600, stratify=digits[1], random_state=seed)
    return tuple(parts)


def train_autoencoder(
    runner: ExperimentRunner, train_x: Images, test_x: Images
) -> tuple[Images, Images]:
    """Return the latents of both sets, shape (images, LATENTS), by an encoder fit to the first."""
    seen, unseen = (torch.from_numpy(images).to(runner.device) for images in (train_x, test_x))
    encoder = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, LATENTS))
    decoder = nn.Sequential(nn.Linear(LATENTS, 128), nn.GELU(), nn.Linear(128, 64))
    model = nn.Sequential(encoder, decoder).to(runner.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(seen), device=runner.device).split(BATCH):
            loss = functional.mse_loss(model(seen[batch]), seen[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            error = functional.mse_loss(model(unseen), unseen)
        runner.log_metrics({"reconstruction_error": error}, step=epoch)
    with torch.no_grad():
        return encoder(seen).cpu().numpy(), encoder(unseen).cpu().numpy()


def draw_plane(plane: Images, labels: Labels) -> bytes:
    """Return a PNG of the points ``plane``, shape (images, 2), coloured by digit."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    points = axes.scatter(plane[:, 0], plane[:, 1], c=labels, cmap="tab10", s=12)
    axes.legend(*points.legend_elements(), title="digit", fontsize="small")
    axes.set(xticks=[], yticks=[])
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()
