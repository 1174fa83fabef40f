"""How far the Hessians of several models disagree, by the norms and angles of their diagonals.

The measures are those of Mendieta et al. (2022, section 3).

    H_N = mean over pairs (||diag H_k|| - ||diag H_j||)^2
    H_D = mean over pairs cos(diag H_k, diag H_j)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mpifl.curvature.diagonal import Diagonal, Estimate
from mpifl.options import BadInput


class LostInNoise(BadInput):
    """A diagonal's norm is not above its error: nothing can be said of its direction."""


@dataclass(frozen=True, eq=False)
class Disagreement:
    """H_N and H_D of K models, and of each pair of them."""

    H_N: Estimate
    H_D: Estimate
    differences: Tensor
    """[K, K], float64: H_N of each pair"""
    cosines: Tensor
    """[K, K], float64: H_D of each pair, 1 on the diagonal"""


def disagreement(diagonals: Sequence[Diagonal]) -> Disagreement:
    """H_N and H_D over the pairs of different models. Each diagonal has probes of its own.

    The norms have no bias from noise. H_N is still too large by the variances of two norms; its
    error includes that. Raises BadInput for fewer than two models, and LostInNoise if a norm is not
    above its error.
    """
    _refuse_one(len(diagonals))
    norms = [diagonal.norm for diagonal in diagonals]
    if any(norm.value <= norm.error for norm in norms):
        worst = max(diagonals, key=lambda diagonal: diagonal.norm.error - diagonal.norm.value)
        got = f"{worst.norm.value:.3g} ± {worst.norm.error:.2g}"
        raise LostInNoise(
            f"diagonals: expected norms above their errors; got one of {got}; "
            f"lost in noise, needs {_probes_needed(worst)}: use more probes"
        )
    n = torch.tensor([norm.value for norm in norms], dtype=torch.float64)
    spread = torch.tensor([norm.error for norm in norms], dtype=torch.float64)
    units = torch.stack([d.mean for d in diagonals]) / n[:, None].to(diagonals[0].mean)
    cosines = (units @ units.T).double().fill_diagonal_(1.0)
    differences = (n[:, None] - n).square()
    pairs = len(n) * (len(n) - 1)
    slopes = 4 * (n * len(n) - n.sum()) / pairs  # the derivative of the mean by each norm
    error_n = (slopes * spread).square().sum().sqrt() + 2 * spread.square().sum() / len(n)
    error_d = _angle_error(units, cosines, n, diagonals)
    H_N = differences.sum() / pairs
    H_D = (cosines.sum() - len(n)) / pairs
    return Disagreement(
        Estimate(H_N.item(), error_n.item()),
        Estimate(H_D.item(), error_d),
        differences,
        cosines.cpu(),
    )


def as_released(vectors: Tensor) -> Disagreement:
    """H_N and H_D of `vectors [K, n]` as FedAlign's released code has them.

    The means are over all K^2 ordered pairs, including k = j. So H_N is (K - 1)/K of the mean over
    different models, and H_D is nearer to 1. The errors are not known (NaN).
    """
    _refuse_one(len(vectors))
    vectors = vectors.double()
    n = vectors.norm(dim=1)
    cosines = (vectors @ vectors.T) / (n[:, None] * n).clamp(min=torch.finfo(n.dtype).tiny)
    differences = (n[:, None] - n).square()
    nan = float("nan")
    return Disagreement(
        Estimate(differences.mean().item(), nan),
        Estimate(cosines.mean().item(), nan),
        differences,
        cosines,
    )


def _angle_error(units: Tensor, cosines: Tensor, n: Tensor, diagonals: Sequence[Diagonal]) -> float:
    """Standard error of the mean cosine: only noise across a diagonal's own direction turns it."""
    total = units.sum(0)
    variance = 0.0
    for k, diagonal in enumerate(diagonals):
        along = (cosines[k].sum() - 1).item()
        across = (total - units[k] - along * units[k]).double()
        noise = (across.square() * diagonal.variance.double()).sum().item()
        variance += 2 * noise / n[k].item() ** 2
    pairs = len(diagonals) * (len(diagonals) - 1)
    return 2 * variance**0.5 / pairs


def _probes_needed(diagonal: Diagonal) -> str:
    """How many probes would make a norm twice its error, in words.

    Where noise is all that is seen, the error of the squared norm falls with the number of probes.
    """
    square = diagonal.square
    if square.value <= 0:
        return f"far more than {diagonal.probes:,} probes"
    # the norm's error is that of its square / (2 norm): twice the error is below the norm where
    # the error of the square is below the square
    factor = max(2.0, square.error / square.value)
    return f"about {round(factor * diagonal.probes, -1) or diagonal.probes:,.0f} probes"


def _refuse_one(models: int) -> None:
    if models < 2:
        raise BadInput(f"disagreement: expected at least two models to compare; got {models}")
