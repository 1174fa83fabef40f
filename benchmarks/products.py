"""The cost of a product with a Hessian: in a block of four on a retained graph, against other ways,
and against gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp, vjp, vmap

from benchmarks.pairs import interleave
from benchmarks.report import Row
from mpifl.curvature import Curvature, Objective
from mpifl.models import MODELS
from mpifl.net import Net
from mpifl.parallel.devices import configure

_VECTORS, _BATCH = 4, 16
_VMAP = "vmap of four"
_GRADIENTS = {"cnn": 2.1, "resnet20": 3.3}
"""the bar for a product, in gradients"""


def products() -> list[Row]:
    """four products with a Hessian in a block : other ways, and : four gradients; batch 16 of
    3 x 32 x 32
    """
    configure(torch.device("cpu"), 1)
    return [*_rows("cnn"), *_rows("resnet20")]


def _rows(model: str) -> list[Row]:
    torch.manual_seed(0)
    net = Net(MODELS[model]().build((3, 32, 32), 10))
    x = torch.randn(_BATCH, 3, 32, 32)
    y = torch.randint(10, (_BATCH,))
    H = Curvature(Objective(net, [(x, y)]), net.weights)
    v = torch.randn(_VECTORS, H.dimension)
    rows = []
    for name, way in _ways(H, x, y).items():
        bar: float | None = 1.05
        note = ""
        if name == "gradients":
            bar = _GRADIENTS[model]
        elif name == _VMAP:
            bar = None
            note = "four times the memory"
        pairs = interleave(partial(H, v), partial(way, v), 3)
        rows.append(Row.of(f"{model}: {name}", pairs, bar, note))
    return rows


def _ways(H: Curvature, x: Tensor, y: Tensor) -> dict[str, Callable[[Tensor], object]]:
    """Other ways to the same four products, and four gradients."""
    objective = H.objective
    module = objective.net.module.eval()
    named = {name: p.detach() for name, p in module.named_parameters()}

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return torch.nn.functional.cross_entropy(functional_call(module, weights, (x,)).logits, y)

    def pieces(row: Tensor) -> dict[str, Tensor]:
        parts = row.split(H.sizes)
        return {name: part.view_as(p) for (name, p), part in zip(named.items(), parts, strict=True)}

    def forward_over_reverse(row: Tensor) -> object:
        return jvp(grad(loss), (named,), (pieces(row),))[1]

    def reverse_over_forward(row: Tensor) -> object:
        def directional(weights: dict[str, Tensor]) -> Tensor:
            return jvp(loss, (weights,), (pieces(row),))[1]

        value, back, *_ = vjp(directional, named)
        return back(torch.ones_like(value))[0]

    return {
        "double backward, one by one": lambda v: [H(row) for row in v],
        "jvp of grad": lambda v: [forward_over_reverse(row) for row in v],
        "grad of jvp": lambda v: [reverse_over_forward(row) for row in v],
        _VMAP: vmap(forward_over_reverse),
        "gradients": lambda v: [objective.gradient(H.w) for _ in v],
    }
