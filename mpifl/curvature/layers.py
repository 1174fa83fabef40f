"""Curvature layer by layer: largest eigenvalue and trace of each diagonal block of the Hessian.

MAN's theory (Yashwanth et al. 2024) bounds the eigenvalue by the activations that enter the layer.
A layer is a module with parameters of its own: a weight and its bias together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from mpifl.curvature.diagonal import Diagonal, Estimate
from mpifl.curvature.lanczos import lanczos
from mpifl.curvature.objective import Objective
from mpifl.curvature.operator import Curvature
from mpifl.flat_layout import Entry


@dataclass(frozen=True)
class LayerTop:
    """The largest eigenvalue of a layer's block."""

    layer: str
    value: float
    error: float
    products: int
    """each is cheaper than a product of the whole net"""


def layers(layout: Sequence[Entry]) -> dict[str, list[str]]:
    """The parameters' names of each layer, in the net's order.

    >>> weight = Entry("a.weight", "parameter", (2,), 0, 2)
    >>> bias = Entry("a.bias", "parameter", (1,), 2, 1)
    >>> layers([weight, bias])
    {'a': ['a.weight', 'a.bias']}
    """
    found: dict[str, list[str]] = {}
    for entry in layout:
        if entry.kind == "parameter":
            layer = entry.name.rpartition(".")[0] or entry.name
            found.setdefault(layer, []).append(entry.name)
    return found


def layer_tops(
    objective: Objective,
    w: Tensor,
    *,
    tolerance: float = 1e-3,
    most: int = 30,
    seed: int = 0,
    watch: Callable[[int], None] | None = None,
) -> Iterator[LayerTop]:
    """Each layer's largest eigenvalue, one after the other, by Lanczos on its block.

    `watch` is called with the number of products after each block of them.
    """
    for layer, names in layers(objective.net.layout).items():
        block = Curvature(objective, w, only=names, check=False)
        block.watch = watch
        ends = lanczos(block, 1, tolerance=tolerance, most=min(most, block.dimension), seed=seed)
        yield LayerTop(layer, float(ends.top.values[0]), float(ends.top.errors[0]), ends.products)


def layer_traces(diagonal: Diagonal, layout: Sequence[Entry]) -> dict[str, Estimate]:
    """Each layer's trace, from a diagonal that was estimated with the parameters' `sizes`.

    It takes no further products.
    """
    names = [entry.name for entry in layout if entry.kind == "parameter"]
    column = {name: number for number, name in enumerate(names)}
    traces = {}
    for layer, members in layers(layout).items():
        traces[layer] = diagonal.trace_of([column[name] for name in members])
    return traces
