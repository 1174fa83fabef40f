"""Scaled weight standardisation (Brock et al. 2021, NF-Nets, arXiv 2102.06171).

In federated learning: FedWon (Zhuang & Lyu, ICLR 2024, arXiv 2306.05879), which has no norms and
standardises convolutions. Its code was not found; the rule is NF-Nets', without their blocks, their
clipping by units, and the factor 1.7139588594 after each ReLU.
"""

from __future__ import annotations

import torch
from torch import Tensor


def standardised(weight: Tensor) -> Tensor:
    """`(W - mean) / sqrt(max(N var, 1e-4))`, by rows of `weight [outputs, ...]` of N elements each.

    A row then has mean 0 and norm 1: the result is the same for `a W + b` with any a > 0.
    """
    rows = weight.flatten(1)
    centred = rows - rows.mean(1, keepdim=True)
    squares = centred.square().sum(1, keepdim=True)
    return (centred * torch.rsqrt(squares.clamp_min(1e-4))).view_as(weight)
