"""The work of a run whose module imports torch: one small matrix product and its gradient."""

from __future__ import annotations

import torch


def work(seed: int) -> float:
    """Return the sum of a 64 x 64 product, after its gradient was taken."""
    torch.manual_seed(seed)
    matrix = torch.randn(64, 64, requires_grad=True)
    total = (matrix @ matrix).sum()
    torch.autograd.backward(total)
    return float(total.detach())
