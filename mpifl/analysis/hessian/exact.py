"""The quantities of protocol exact: functions of a model that return a finding with its errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mpifl.analysis.hessian.model import Found, MeasuredModel
from mpifl.analysis.hessian.protocols import Exact
from mpifl.curvature import (
    Curvature,
    Diagonal,
    Ends,
    diagonal,
    flatness,
    gauss_newton,
    lanczos,
    layer_tops,
    layer_traces,
    sharpness,
    spectrum,
    trace,
)
from mpifl.store.measurements import Finding

_LEAST_PROBES = 8
_STORED_EIGENVECTORS = 2


@dataclass(eq=False)
class ExactModel(MeasuredModel):
    """A model measured over fixed samples; what several quantities need is computed once."""

    protocol: Exact

    @cached_property
    def hessian(self) -> Curvature:
        """The Hessian. Two passes over the data are compared first: BadInput where they differ."""
        return self.counted(Curvature(self.objective("check"), self.w))

    @cached_property
    def ends(self) -> Ends:
        """The largest eigenvalues and the smallest, with the Lanczos basis."""
        top = min(self.protocol.top, self.hessian.dimension - 1)
        most = max(200, 4 * (top + 1))
        tolerance = self.protocol.tolerance
        return lanczos(self.hessian, top, 1, tolerance=tolerance, most=most, seed=self.seed)

    @cached_property
    def diagonal(self) -> Diagonal:
        """The diagonal, deflated by the Lanczos basis."""
        return diagonal(
            self.hessian,
            self.ends.basis,
            sizes=self.hessian.sizes,
            tolerance=self.protocol.trace_tolerance,
            least=min(_LEAST_PROBES, self.protocol.probes),
            most=self.protocol.probes,
            seed=self.seed,
        )

    def timed(self) -> Curvature:
        return self.hessian


def _objective(model: ExactModel) -> Found:
    loss, accuracy = model.hessian.objective.score(model.w)
    norm = model.hessian.gradient.norm().item()
    arrays: dict[str, Any] = {"loss": loss, "accuracy": accuracy, "gradient_norm": norm}
    return Finding(arrays), {}


def _eigenvalues(model: ExactModel) -> Found:
    top = model.ends.top
    bottom = model.ends.bottom
    arrays: dict[str, Any] = {
        "values": top.values,
        "residuals": top.residuals,
        "errors": top.errors,
        "converged": top.converged,
        "smallest_residuals": bottom.residuals[0],
        "smallest_converged": bottom.converged[0],
        "smallest": bottom.values[0],
    }
    vectors = top.vectors[:_STORED_EIGENVECTORS].cpu().numpy()
    return Finding(arrays), {"eigenvectors": vectors}


def _diagonal(model: ExactModel) -> Found:
    found = model.diagonal
    of_layers = layer_traces(found, model.hessian.objective.net.layout)
    arrays: dict[str, Any] = {
        "trace": found.trace.value,
        "trace_error": found.trace.error,
        "norm": found.norm.value,
        "norm_error": found.norm.error,
        "layer": list(of_layers),
        "layer_trace": [estimate.value for estimate in of_layers.values()],
        "layer_trace_error": [estimate.error for estimate in of_layers.values()],
        "parts": found.parts.numpy(),
    }
    converged = found.within(model.protocol.trace_tolerance)
    facts = {"probes": found.probes, "converged": converged}
    vectors = {"diagonal": found.mean.cpu().numpy(), "variance": found.variance.cpu().numpy()}
    return Finding(arrays, facts), vectors


def _sharpness(model: ExactModel) -> Found:
    top = model.ends.top.vectors[:1]
    found = sharpness(model.hessian.objective, model.w, top, rho=model.protocol.rho)
    arrays: dict[str, Any] = {"value": found.value, "first": found.first, "gain": found.gain}
    return Finding(arrays, {"gradients": found.gradients, "converged": found.converged}), {}


def _spectrum(model: ExactModel) -> Found:
    protocol = model.protocol
    found = spectrum(
        model.hessian,
        starts=protocol.starts,
        steps=protocol.steps,
        tolerance=protocol.density_tolerance,
        seed=model.seed,
    )
    grid = found.grid()
    density, error = found.density(grid)
    arrays: dict[str, Any] = {
        "nodes": found.nodes,
        "weights": found.weights,
        "grid": grid,
        "density": density,
        "density_error": error,
    }
    converged = found.error <= protocol.density_tolerance
    return Finding(arrays, {"starts": len(found.nodes), "converged": converged}), {}


def _layers(model: ExactModel) -> Found:
    tops = list(
        layer_tops(
            model.hessian.objective,
            model.w,
            tolerance=model.protocol.tolerance,
            seed=model.seed,
            watch=model.on_products,
        )
    )
    arrays: dict[str, Any] = {
        "layer": [top.layer for top in tops],
        "value": [top.value for top in tops],
        "error": [top.error for top in tops],
    }
    return Finding(arrays, {"block_products": sum(top.products for top in tops)}), {}


def _gauss_newton(model: ExactModel) -> Found:
    protocol = model.protocol
    objective = model.hessian.objective
    G = model.counted(Curvature(objective, model.w, products=gauss_newton, check=False))
    ends = lanczos(G, 1, tolerance=protocol.tolerance, seed=model.seed)
    found = trace(
        G,
        ends.basis,
        tolerance=protocol.trace_tolerance,
        least=min(_LEAST_PROBES, protocol.probes),
        most=protocol.probes,
        seed=model.seed,
    )
    arrays: dict[str, Any] = {
        "value": ends.top.values[0],
        "error": ends.top.errors[0],
        "trace": found.value,
        "trace_error": found.error,
    }
    return Finding(arrays, {"converged": found.converged}), {}


def _flatness(model: ExactModel) -> Found:
    protocol = model.protocol
    found = flatness(
        model.hessian,
        tolerance=protocol.tolerance,
        trace_tolerance=protocol.trace_tolerance,
        probes=protocol.probes,
        rho=protocol.rho,
        seed=model.seed,
    )
    loss, accuracy = model.hessian.objective.score(model.w)
    arrays: dict[str, Any] = {
        "loss": loss,
        "accuracy": accuracy,
        "gradient_norm": found.gradient_norm,
        "lambda_max": found.lambda_max.value,
        "lambda_max_error": found.lambda_max.error,
        "trace": found.trace.value,
        "trace_error": found.trace.error,
        "sharpness": found.sharpness.value,
        "sharpness_first": found.sharpness.first,
        "sharpness_gain": found.sharpness.gain,
    }
    return Finding(arrays, {"probes": found.probes, "converged": found.converged}), {}


QUANTITIES: dict[str, Callable[[ExactModel], Found]] = {
    "objective": _objective,
    "eigenvalues": _eigenvalues,
    "diagonal": _diagonal,
    "sharpness": _sharpness,
    "spectrum": _spectrum,
    "layers": _layers,
    "gauss_newton": _gauss_newton,
    "flatness": _flatness,
}
"""in the order in which they are measured"""
