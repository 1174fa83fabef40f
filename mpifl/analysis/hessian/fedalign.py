"""The quantities of protocol fedalign: as FedAlign's released code computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mpifl.analysis.hessian.model import Found, MeasuredModel
from mpifl.analysis.hessian.protocols import FedAlign
from mpifl.curvature import Curvature, power, running_trace
from mpifl.store.measurements import Finding


@dataclass(eq=False)
class FedAlignModel(MeasuredModel):
    """A model measured over batches that are drawn anew for each product."""

    protocol: FedAlign

    def hessian(self, purpose: str) -> Curvature:
        """The Hessian over the batches drawn for `purpose`."""
        return self.counted(Curvature(self.objective(purpose), self.w, check=False))

    def timed(self) -> Curvature:
        return self.hessian("timing")


def _eigenvalue(model: FedAlignModel) -> Found:
    protocol = model.protocol
    H = model.hessian("eigenvalue")
    found = power(H, tolerance=protocol.tolerance, most=protocol.most, seed=model.seed)
    arrays: dict[str, Any] = {"values": [found.value], "residuals": [found.residual]}
    return Finding(arrays, {"converged": found.converged}), {}


def _trace(model: FedAlignModel) -> Found:
    protocol = model.protocol
    H = model.hessian("trace")
    found, of_tensors = running_trace(
        H, H.sizes, tolerance=protocol.tolerance, most=protocol.most, seed=model.seed
    )
    arrays: dict[str, Any] = {
        "trace": found.value,
        "trace_error": found.error,
        "tensor": H.names,
        "tensor_trace": of_tensors.numpy(),
    }
    return Finding(arrays, {"probes": found.probes, "converged": found.converged}), {}


QUANTITIES: dict[str, Callable[[FedAlignModel], Found]] = {
    "eigenvalues": _eigenvalue,
    "trace": _trace,
}
"""in the order in which they are measured"""
