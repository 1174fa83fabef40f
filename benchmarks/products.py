"""What a product with a Hessian costs: in a block of four on a retained graph, against other ways,
and in gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp, vjp, vmap

from benchmarks.pairs import interleave
from benchmarks.report import Row
from mpifl.curvature import Curvature, Objective
from mpifl.models import MODELS
from mpifl.net import Net
from mpifl.parallel.devices import settle

_VECTORS, _BATCH = 4, 16
_VMAP = "vmap of four"
_GRADIENTS = {"cnn": 2.1, "resnet20": 3.3}
"""a product, in gradients"""


def products() -> list[Row]:
    """four products with a Hessian in a block : the same otherwise, and : four gradients; batch 16
    of 3 x 32 x 32
    """
    settle(torch.device("cpu"), 1)
    return [row for model in ("cnn", "resnet20") for row in _rows(model)]


def _rows(model: str) -> list[Row]:
    torch.manual_seed(0)
    net = Net(MODELS[model]().build((3, 32, 32), 10))
    x, y = torch.randn(_BATCH, 3, 32, 32), torch.randint(10, (_BATCH,))
    H = Curvature(Objective(net, [(x, y)]), net.weights)
    v = torch.randn(_VECTORS, H.dimension)
    rows = []
    for name, way in _ways(H, x, y).items():
        bar = _GRADIENTS[model] if name == "gradients" else None if name == _VMAP else 1.05
        note = "four times the memory" if name == _VMAP else ""
        rows.append(
            Row.of(
                f"{model}: {name}", interleave(lambda: H(v), lambda way=way: way(v), 3), bar, note
            )
        )
    return rows


def _ways(H: Curvature, x: Tensor, y: Tensor) -> dict[str, Callable[[Tensor], object]]:
    """Other ways to the same four products, and four gradients."""
    module, objective = H.objective.net.module.eval(), H.objective
    named = {name: p.detach() for name, p in module.named_parameters()}

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return torch.nn.functional.cross_entropy(functional_call(module, weights, (x,)).logits, y)

    def pieces(row: Tensor) -> dict[str, Tensor]:
        parts = row.split(H.sizes)
        return {name: part.view_as(p) for (name, p), part in zip(named.items(), parts, strict=True)}

    def forward_over_reverse(row: Tensor) -> object:
        return jvp(grad(loss), (named,), (pieces(row),))[1]

    def reverse_over_forward(row: Tensor) -> object:
        directional, back = vjp(lambda weights: jvp(loss, (weights,), (pieces(row),))[1], named)
        return back(torch.ones_like(directional))[0]

    return {
        "double backward, one by one": lambda v: [H(row) for row in v],
        "jvp of grad": lambda v: [forward_over_reverse(row) for row in v],
        "grad of jvp": lambda v: [reverse_over_forward(row) for row in v],
        _VMAP: lambda v: vmap(forward_over_reverse)(v),
        "gradients": lambda v: [objective.gradient(H.w) for _ in v],
    }
