"""Small float64 nets of about 500 parameters with uneven batches, and their dense Hessians by
another way.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, jacrev

from mpifl.curvature import Curvature, Objective
from mpifl.models import MODELS
from mpifl.models.cnn import Cnn
from mpifl.models.convnet import Convolution, convnet
from mpifl.net import Net

SHAPE, CLASSES, LENGTHS = (2, 8, 8), 4, (7, 5, 1)


def _cnn(norm: str) -> torch.nn.Module:
    return convnet(
        Cnn(norm=norm), SHAPE, CLASSES, (Convolution(4, 3), Convolution(6, 3)), (8,), same=True
    )


BUILDERS = {
    "mlp": lambda: MODELS["mlp"](hidden=(3, 5)).build(SHAPE, CLASSES),
    "cnn with group norm": lambda: _cnn("group"),
    "cnn with batch norm": lambda: _cnn("batch"),
    "vit block": lambda: MODELS["vit"](patch=4, dim=6, depth=1, heads=2, expansion=2).build(
        SHAPE, CLASSES
    ),
    "linear": lambda: MODELS["mlp"](hidden=()).build(SHAPE, CLASSES),
}


def batches(
    lengths: tuple[int, ...] = LENGTHS, dtype=torch.float64, seed: int = 1
) -> list[tuple[Tensor, Tensor]]:
    """Images and labels, in batches of unequal lengths."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(lengths), *SHAPE, generator=random, dtype=torch.float64).to(dtype)
    y = torch.randint(CLASSES, (len(x),), generator=random)
    return list(zip(x.split(lengths), y.split(lengths), strict=True))


def net(kind: str, dtype=torch.float64) -> Net:
    """The net with weights a little away from its initial ones, and batch norms that have seen
    data.
    """
    torch.manual_seed(3)
    module = BUILDERS[kind]().to(torch.float64)
    made = Net(module)
    module.train()
    with torch.no_grad():
        for x, _ in batches((8, 8, 8), seed=2):
            made(x)
        made.weights += 0.1 * torch.randn(len(made.weights), dtype=torch.float64)
    module.eval()
    if dtype == torch.float64:
        return made
    other = Net(BUILDERS[kind]().to(dtype).eval())
    other.load(made.weights.to(dtype), made.buffers.to(dtype))
    return other


def curvature(kind: str, **options) -> Curvature:
    """The Hessian of a net on `batches`."""
    made = net(kind)
    return Curvature(Objective(made, batches()), made.weights, **options)


@cache
def dense(kind: str) -> Tensor:
    """The Hessian [d, d] of the mean cross-entropy over all samples at once, each row by itself."""
    made = net(kind)
    x, y = (torch.cat(part) for part in zip(*batches(), strict=True))
    named = [(name, p.shape, p.numel()) for name, p in made.module.named_parameters()]

    def loss(w: Tensor) -> Tensor:
        pieces = w.split([size for _, _, size in named])
        weights = {name: v.view(shape) for (name, shape, _), v in zip(named, pieces, strict=True)}
        return F.cross_entropy(functional_call(made.module, weights, (x,)).logits, y)

    return jacrev(grad(loss))(made.weights.clone())


KINDS = list(BUILDERS)
