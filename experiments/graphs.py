"""Stochastic-block-model graphs whose adjacency is reported with errors."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

NODES = 48
FLIPPED = 0.15  # the share of node pairs that are reported wrongly


class Graphs(NamedTuple):
    """Graphs along the first axis; ``noisy``, ``clean`` and ``chance`` are (graphs, nodes, nodes).

    ``values`` and ``vectors`` are the eigenvalues of ``noisy``, ascending, and its eigenvectors in
    columns; ``chance`` is that of an edge in the model; ``block`` says to which each node belongs.
    """

    noisy: Tensor
    values: Tensor
    vectors: Tensor
    clean: Tensor
    chance: Tensor
    block: Tensor

    def take(self, chosen: Tensor | slice) -> Graphs:
        """Return these of the graphs."""
        return Graphs(*(field[chosen] for field in self))


def draw_graphs(count: int, device: str) -> Graphs:
    """Draw graphs of 2 to 4 blocks, each with edge rates of its own, and flip some pairs."""
    block = (torch.rand(count, NODES) * torch.randint(2, 5, (count, 1))).long()
    inside, between = torch.rand(2, count, 1, 1)
    together = block[:, :, None] == block[:, None, :]
    chance = torch.where(together, 0.6 + 0.3 * inside, 0.02 + 0.13 * between)
    clean = _toss(chance)
    noisy = (clean - _toss(torch.full_like(chance, FLIPPED))).abs()
    values, vectors = torch.linalg.eigh(noisy)
    fields = (noisy, values, vectors, clean, chance, block)
    return Graphs(*(field.to(device) for field in fields))


def pairs(matrices: Tensor) -> Tensor:
    """Return the entries above the diagonal, shape (graphs, pairs)."""
    row, column = torch.triu_indices(NODES, NODES, offset=1, device=matrices.device)
    return matrices[:, row, column]


def relative_error(guess: Tensor, truth: Tensor) -> Tensor:
    """Return the Frobenius norm of the error over that of the truth, a mean over graphs."""
    error, size = pairs(guess - truth).square().sum(dim=1), pairs(truth).square().sum(dim=1)
    return (error / size).sqrt().mean()


def truncate(graphs: Graphs) -> Tensor:
    """Denoise without training: keep as many eigenvalues as there are blocks, the largest."""
    blocks = graphs.block.amax(dim=1, keepdim=True) + 1
    rank = graphs.values.abs().argsort(dim=1, descending=True).argsort(dim=1)
    kept = graphs.values * (rank < blocks)
    return ((graphs.vectors * kept[:, None, :]) @ graphs.vectors.mT).clamp(0, 1)


def ask_oracle(graphs: Graphs) -> Tensor:
    """Return the logits of one who knows blocks and rates, by Bayes; nobody does better."""
    return graphs.chance.logit() + (2 * graphs.noisy - 1) * math.log((1 - FLIPPED) / FLIPPED)


def paint(graphs: Graphs, guesses: Mapping[str, Tensor]) -> bytes:
    """Return a PNG of the first graph, nodes sorted by block: the truth, then the guesses."""
    order = graphs.block[0].argsort().cpu()
    figure = Figure(figsize=(12, 2.8), layout="constrained")
    shown = {"clean": graphs.clean, **guesses}
    for axes, (name, matrices) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        axes.imshow(matrices[0].cpu()[order][:, order].numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes.set(title=name.rstrip("_") or "denoised", xticks=[], yticks=[])
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _toss(chance: Tensor) -> Tensor:
    upper = torch.bernoulli(chance).triu(diagonal=1)
    return upper + upper.mT
