"""The trace of an operator, by probes: plain, deflated, or as FedAlign's released code has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mpifl.curvature.diagonal import diagonal
from mpifl.curvature.krylov import Basis
from mpifl.curvature.probes import signs
from mpifl.curvature.symmetric import Symmetric


@dataclass(frozen=True)
class Trace:
    """tr H, its standard error, and the number of probes."""

    value: float
    error: float
    probes: int
    converged: bool


def trace(
    operator: Symmetric, basis: Basis | None = None, *, tolerance: float = 0.05, **options: Any
) -> Trace:
    """tr H to `tolerance` at two standard errors: plain Hutchinson, or deflated by `basis`.

    Options are those of `diagonal`: least, most, block, seed. Deflation pays: Lanczos steps remove
    the few large eigenvalues that make most of the variance, 2 (||H||_F^2 - ||diag H||^2) a probe.
    """
    found = diagonal(operator, basis, tolerance=tolerance, of=("trace",), **options)
    estimate = found.trace
    return Trace(estimate.value, estimate.error, found.probes, estimate.within(tolerance))


def running_trace(
    operator: Symmetric,
    sizes: list[int],
    *,
    tolerance: float = 1e-3,
    most: int = 100,
    signed: bool = True,
    seed: int = 0,
) -> tuple[Trace, Tensor]:
    """tr H, and each tensor's trace [tensors], as in PyHessian and FedAlign's released code.

    It stops when a new probe moves the mean by less than `tolerance` (|mean| + 1e-6); this says
    little about the error. `signed` omits the absolute value, as FedAlign's code does: then a
    negative mean stops it at once.
    """
    parts: list[Tensor] = []
    before = 0.0
    stopped = False
    for number in range(most):
        z = signs(operator, seed, [number])[0]
        products = (z * operator(z)).split(sizes)
        parts.append(torch.stack([product.sum(dtype=torch.float64) for product in products]).cpu())
        mean = torch.stack(parts).sum(1).mean().item()
        size = before if signed else abs(before)
        stopped = operator.any(abs(mean - before) / (size + 1e-6) < tolerance)
        if stopped:
            break
        before = mean
    rows = torch.stack(parts)
    error = rows.sum(1).std().item() / len(rows) ** 0.5 if len(rows) > 1 else float("nan")
    return Trace(rows.sum(1).mean().item(), error, len(rows), stopped), rows.mean(0)
