"""Two architectures that denoise an adjacency: one scales its spectrum, one passes messages."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.graphs import NODES, Graphs

WIDTH = 32
FEATURES = 8  # leading eigenvectors that the message passing starts from


class Spectral(nn.Module):
    """Keep the eigenvectors; put each eigenvalue through a learned curve of ``layers`` layers."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        sizes = [1] + [WIDTH] * layers
        hidden = [part for i, o in pairwise(sizes) for part in (nn.Linear(i, o), nn.GELU())]
        self.curve = nn.Sequential(*hidden, nn.Linear(WIDTH, 1))

    def forward(self, graphs: Graphs) -> Tensor:
        shrunk: Tensor = self.curve(graphs.values[:, :, None] / NODES**0.5)
        return (NODES * graphs.vectors * shrunk.mT) @ graphs.vectors.mT


class MessagePassing(nn.Module):
    """Give each node its part of the leading eigenvectors; pass messages ``layers`` times."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.start, self.end = nn.Linear(FEATURES, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.own = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(layers))
        self.heard = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(layers))
        self.norm = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(layers))

    def forward(self, graphs: Graphs) -> Tensor:
        leading = graphs.vectors[:, :, -FEATURES:] * NODES**0.5
        if self.training:  # an eigenvector's sign means nothing, so none must be learned
            leading = leading * torch.randn_like(leading[:, :1]).sign()
        degree = graphs.noisy.sum(dim=2, keepdim=True).clamp(min=1)
        state: Tensor = self.start(leading)
        for own, heard, norm in zip(self.own, self.heard, self.norm, strict=True):
            messages = (graphs.noisy / (degree * degree.mT).sqrt()) @ state
            state = state + functional.gelu(norm(own(state) + heard(messages)))
        state = self.end(state)
        return (state @ state.mT).div(WIDTH**0.5)


class Denoiser(nn.Module):
    """Weigh what the architecture says of a pair against what is reported of it; gives logits."""

    def __init__(self, architecture: nn.Module) -> None:
        super().__init__()
        self.architecture = architecture
        self.weights = nn.Parameter(torch.tensor([1.0, 1.0, 0.0]))

    def forward(self, graphs: Graphs) -> Tensor:
        structure, report, bias = self.weights
        said: Tensor = self.architecture(graphs)
        logits: Tensor = structure * said + report * (2 * graphs.noisy - 1) + bias
        return logits


ARCHITECTURES: dict[str, type[Spectral | MessagePassing]] = {
    "spectral": Spectral,
    "gnn": MessagePassing,
}
