"""The quantities of each protocol: a function of a model at hand -> a finding, with what was found
of its error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mpifl.analysis.hessian.protocols import Exact, FedAlign, Protocol
from mpifl.curvature import (
    Curvature,
    Diagonal,
    Ends,
    Objective,
    diagonal,
    gauss_newton,
    lanczos,
    layer_tops,
    layer_traces,
    layers,
    power,
    running_trace,
    sharpness,
    spectrum,
    trace,
)
from mpifl.store.measurements import Finding


@dataclass(eq=False)
class MeasuredModel:
    """A stored model at hand: its objective, and seeds of its own, so that the probes of two are
    independent.
    """

    protocol: Protocol
    w: Any
    """[d]"""
    seed: int
    objective: Callable[[str], Objective]
    """the objective, given what for: fresh batches are drawn for each purpose"""
    watch: Callable[[int], None]

    @cached_property
    def operator(self) -> Curvature:
        """The Hessian; looks at the data twice first, and refuses (BadInput) where these differ."""
        return self.watched(Curvature(self.objective("check"), self.w))

    @cached_property
    def ends(self) -> Ends:
        """The ends of the spectrum, with the Lanczos basis."""
        top = min(self.protocol.top, self.operator.dimension - 1)
        most = max(200, 4 * (top + 1))
        return lanczos(
            self.operator, top, 1, tolerance=self.protocol.tolerance, most=most, seed=self.seed
        )

    @cached_property
    def diagonal(self) -> Diagonal:
        """The diagonal, less what the basis has seen."""
        p, H = self.protocol, self.operator
        least = min(8, p.probes)
        given = {
            "sizes": H.sizes,
            "tolerance": p.trace_tolerance,
            "least": least,
            "most": p.probes,
            "seed": self.seed,
        }
        return diagonal(H, self.ends.basis, **given)

    def changing(self, purpose: str) -> Curvature:
        """An operator whose every product sees other batches."""
        return self.watched(Curvature(self.objective(purpose), self.w, check=False))

    def watched(self, operator: Curvature) -> Curvature:
        """The operator, its products counted."""
        operator.watch = self.watch
        return operator


Vectors = dict[str, np.ndarray]
Found = tuple[Finding, Vectors]
"""a finding, and long vectors that go with it"""


def _objective(model: MeasuredModel) -> Found:
    H = model.operator
    loss, accuracy = H.objective.score(model.w)
    return Finding(
        {"loss": loss, "accuracy": accuracy, "gradient_norm": H.gradient.norm().item()}
    ), {}


def _eigenvalues(model: MeasuredModel) -> Found:
    top, bottom = model.ends.top, model.ends.bottom
    arrays = {name: getattr(top, name) for name in ("values", "residuals", "errors", "converged")}
    arrays |= {f"smallest_{name}": getattr(bottom, name)[0] for name in ("residuals", "converged")}
    arrays["smallest"] = bottom.values[0]
    return Finding(arrays), {"eigenvectors": top.vectors[:2].cpu().numpy()}


def _diagonal(model: MeasuredModel) -> Found:
    found, tolerance = model.diagonal, model.protocol.trace_tolerance
    of_layers = layer_traces(found, model.operator.objective.net.layout)
    arrays = {
        "trace": found.trace.value,
        "trace_error": found.trace.error,
        "norm": found.norm.value,
        "norm_error": found.norm.error,
        "layer": list(of_layers),
        "layer_trace": [e.value for e in of_layers.values()],
        "layer_trace_error": [e.error for e in of_layers.values()],
        "parts": found.parts.numpy(),
    }
    facts = {"probes": found.probes, "converged": found.within(tolerance)}
    return Finding(arrays, facts), {
        "diagonal": found.mean.cpu().numpy(),
        "variance": found.variance.cpu().numpy(),
    }


def _spectrum(model: MeasuredModel) -> Found:
    p: Exact = model.protocol
    given = {"starts": p.starts, "steps": p.steps, "tolerance": p.density_tolerance}
    found = spectrum(model.operator, **given, seed=model.seed)
    grid = found.grid()
    density, error = found.density(grid)
    nodes = {"nodes": found.nodes, "weights": found.weights}
    facts = {"starts": len(found.nodes), "converged": found.error <= p.density_tolerance}
    return Finding({**nodes, "grid": grid, "density": density, "density_error": error}, facts), {}


def _layers(model: MeasuredModel) -> Found:
    objective = model.operator.objective
    tops = list(
        layer_tops(
            objective,
            model.w,
            tolerance=model.protocol.tolerance,
            seed=model.seed,
            watch=model.watch,
        )
    )
    arrays = {
        "layer": [t.layer for t in tops],
        "value": [t.value for t in tops],
        "error": [t.error for t in tops],
    }
    return Finding(arrays, {"block_products": sum(t.products for t in tops)}), {}


def _sharpness(model: MeasuredModel) -> Found:
    found = sharpness(model.operator.objective, model.w, rho=model.protocol.rho)
    arrays = {"value": found.value, "first": found.first, "gain": found.gain}
    return Finding(arrays, {"gradients": found.gradients, "converged": found.converged}), {}


def _gauss_newton(model: MeasuredModel) -> Found:
    objective = model.operator.objective
    G = model.watched(Curvature(objective, model.w, products=gauss_newton, check=False))
    p = model.protocol
    ends = lanczos(G, 1, tolerance=p.tolerance, seed=model.seed)
    of = trace(
        G,
        ends.basis,
        tolerance=p.trace_tolerance,
        least=min(8, p.probes),
        most=p.probes,
        seed=model.seed,
    )
    arrays = {
        "value": ends.top.values[0],
        "error": ends.top.errors[0],
        "trace": of.value,
        "trace_error": of.error,
    }
    return Finding(arrays, {"converged": of.converged}), {}


def _released_eigenvalue(model: MeasuredModel) -> Found:
    protocol: FedAlign = model.protocol
    found = power(
        model.changing("eigenvalue"),
        tolerance=protocol.tolerance,
        most=protocol.most,
        seed=model.seed,
    )
    return Finding(
        {"values": [found.value], "residuals": [found.residual]}, {"converged": found.converged}
    ), {}


def _released_trace(model: MeasuredModel) -> Found:
    protocol: FedAlign = model.protocol
    H = model.changing("trace")
    given = {"tolerance": protocol.tolerance, "most": protocol.most, "seed": model.seed}
    found, tensors = running_trace(H, H.sizes, **given)
    arrays = {
        "trace": found.value,
        "trace_error": found.error,
        "tensor": H.names,
        "tensor_trace": tensors.numpy(),
    }
    return Finding(arrays, {"probes": found.probes, "converged": found.converged}), {}


Quantity = Callable[[MeasuredModel], Found]
QUANTITIES: dict[str, dict[str, Quantity]] = {
    "exact": {
        "objective": _objective,
        "eigenvalues": _eigenvalues,
        "diagonal": _diagonal,
        "sharpness": _sharpness,
        "spectrum": _spectrum,
        "layers": _layers,
        "gauss_newton": _gauss_newton,
    },
    "fedalign": {"eigenvalues": _released_eigenvalue, "trace": _released_trace},
}
"""by protocol, in the order in which they are found"""

OF_CLIENTS = ("objective", "eigenvalues", "diagonal", "trace")
"""what is found of clients' models unless more is asked for"""


def products(protocol: Protocol, quantity: str, layout: Sequence) -> float:
    """About how many products a quantity takes, in units of one alone: to say how long it will be."""
    if isinstance(protocol, FedAlign):
        return 0.5 * protocol.most
    p: Exact = protocol
    of_layers = len(layers(layout))
    return {
        "objective": 2,
        "eigenvalues": 3 * p.top + 6,
        "diagonal": 0.7 * min(p.probes, 40),
        "sharpness": 2,
        "spectrum": min(p.starts, 3) * p.steps,
        "layers": 8 * of_layers * min(1, 0.3 + 1 / of_layers),
        "gauss_newton": 0.7 * min(p.probes, 40) + 6,
    }[quantity]
