"""Which quantities each protocol measures, and about what they cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from mpifl.analysis.flatness.names import FLATNESS
from mpifl.analysis.hessian import exact, fedalign
from mpifl.analysis.hessian.exact import ExactModel
from mpifl.analysis.hessian.fedalign import FedAlignModel
from mpifl.analysis.hessian.model import Found, MeasuredModel
from mpifl.analysis.hessian.protocols import FedAlign, Protocol
from mpifl.analysis.models.stored import StoredModel
from mpifl.curvature import Objective, layers
from mpifl.flat_layout import Entry

QUANTITIES: dict[str, Mapping[str, Callable[[Any], Found]]] = {
    "exact": exact.QUANTITIES,
    "fedalign": fedalign.QUANTITIES,
}
"""by protocol"""

OF_CLIENTS = ("objective", "eigenvalues", "diagonal", "trace")
"""what is measured of clients' models by default"""


def default_quantities(model: StoredModel, known: Iterable[str]) -> Collection[str]:
    """Which of the `known` quantities are measured of a model where none are named."""
    if model.on is not None:
        return (FLATNESS,)
    if model.client is not None:
        return OF_CLIENTS
    return [name for name in known if name != FLATNESS]


def measured_model(
    protocol: Protocol,
    w: Tensor,
    seed: int,
    objective: Callable[[str], Objective],
    on_products: Callable[[int], None],
) -> MeasuredModel:
    """The model as the protocol measures it."""
    if isinstance(protocol, FedAlign):
        return FedAlignModel(w, seed, objective, on_products, protocol)
    return ExactModel(w, seed, objective, on_products, protocol)


def products(protocol: Protocol, quantity: str, layout: Sequence[Entry]) -> float:
    """About how many products with the Hessian a quantity takes."""
    if isinstance(protocol, FedAlign):
        return 0.5 * protocol.most
    probes = 0.7 * min(protocol.probes, 40)
    number = len(layers(list(layout)))
    return {
        "objective": 2,
        "eigenvalues": 6 * protocol.top + 10,
        "diagonal": probes,
        "sharpness": 5,
        "spectrum": min(protocol.starts, 3) * protocol.steps,
        "layers": 8 * number * min(1, 0.3 + 1 / number),
        "gauss_newton": probes + 8,
        FLATNESS: probes + 24,
    }[quantity]
