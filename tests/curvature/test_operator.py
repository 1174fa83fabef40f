"""Products with the Hessian and its Gauss-Newton part against dense matrices, and data that no
Hessian has.
"""

import pytest
import torch
from curvature.nets import CLASSES, KINDS, SHAPE, batches, curvature, dense, net
from torch import nn
from torch.func import functional_call, jacrev

from mpifl.curvature import Curvature, Objective, gauss_newton
from mpifl.models.layers import BatchNorm
from mpifl.models.output import Output
from mpifl.net import Net
from mpifl.options import BadInput


def vectors(k: int, d: int) -> torch.Tensor:
    return torch.randn(k, d, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_products_over_unequal_batches_are_those_of_the_dense_hessian(kind):
    operator, v = curvature(kind), vectors(6, len(dense(kind)))
    assert (operator(v) - v @ dense(kind)).abs().max() < 1e-10
    assert operator.products == 6


def test_one_vector_gives_the_row_that_a_block_gives():
    operator, v = curvature("mlp"), vectors(3, 431)
    assert torch.allclose(operator(v[1]), operator(v)[1], rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_gauss_newton_products_are_those_of_the_dense_matrix(kind):
    made = net(kind)
    x, y = (torch.cat(part) for part in zip(*batches(), strict=True))
    names, parameters = zip(*made.module.named_parameters(), strict=True)

    def logits(*weights):
        return functional_call(made.module, dict(zip(names, weights, strict=True)), (x,)).logits

    parts = jacrev(logits, tuple(range(len(names))))(*(p.detach() for p in parameters))
    J = torch.cat([part.flatten(2) for part in parts], 2)
    p = logits(*parameters).detach().softmax(-1)
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    G = torch.einsum("nki,nkl,nlj->ij", J, inner, J) / len(y)
    operator = Curvature(Objective(made, batches()), made.weights, products=gauss_newton)
    v = vectors(4, len(G))
    assert (operator(v) - v @ G).abs().max() < 1e-10
    if kind == "linear":
        assert (G - dense(kind)).abs().max() < 1e-12


def test_logistic_regression_has_its_closed_form():
    made = net("linear")
    x, _ = (torch.cat(part) for part in zip(*batches(), strict=True))
    with torch.no_grad():
        p = made(x).logits.softmax(-1)
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    x = x.flatten(1)
    H = torch.einsum("nkl,ni,nj->kilj", inner, x, x).reshape(4 * 128, 4 * 128) / len(x)
    block = curvature("linear", only=["head.classifier.weight"])
    v = vectors(4, len(H))
    assert (block(v) - v @ H).abs().max() < 1e-12


def test_a_block_of_parameters_is_the_diagonal_block():
    made = net("cnn with group norm")
    entry = next(e for e in made.layout if e.name == "dense.0.layer.weight")
    rows = slice(entry.offset, entry.offset + entry.size)
    block = curvature("cnn with group norm", only=[entry.name])
    v = vectors(3, entry.size)
    assert (block(v) - v @ dense("cnn with group norm")[rows, rows]).abs().max() < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_float32_products_are_right_to_one_in_a_hundred_thousand(kind):
    made = net(kind, torch.float32)
    operator, v = (
        Curvature(Objective(made, batches(dtype=torch.float32)), made.weights),
        vectors(4, len(made.weights)),
    )
    right = v @ dense(kind)
    assert (operator(v.float()).double() - right).norm() < 1e-5 * right.norm()


def test_loss_and_gradient_come_with_it_and_the_net_is_left_as_it_was():
    made = net("cnn with batch norm")
    w, buffers = made.weights + 0.1, made.buffers + 0.5
    made.module.train()
    made.module.convolutions[0].eval()
    before = made.weights.clone(), made.buffers.clone(), made.gradient.clone()
    operator = Curvature(Objective(made, batches(), buffers), w)
    operator(vectors(2, len(w)))
    assert all(map(torch.equal, before, (made.weights, made.buffers, made.gradient)))
    assert made.module.training
    assert not made.module.convolutions[0].training
    ahead, behind = (
        operator.objective.score(w + step * operator.gradient)[0] for step in (1e-6, -1e-6)
    )
    assert (ahead - behind) / 2e-6 == pytest.approx(
        operator.gradient.square().sum().item(), rel=1e-4
    )
    assert operator.loss == pytest.approx(operator.objective.score(w)[0], rel=1e-12)


class Odd(nn.Module):
    """A net with a forward pass of its own."""

    def __init__(self, act) -> None:
        super().__init__()
        self.linear, self.norm, self.act = nn.Linear(128, CLASSES), BatchNorm(CLASSES), act

    def forward(self, x):
        logits = self.act(self, self.linear(x.flatten(1)))
        return Output(logits, logits)


def odd(act, source=None) -> Curvature:
    made = Net(Odd(act).double())
    return Curvature(Objective(made, source or batches()), made.weights)


def train_mode(module: Odd, z: torch.Tensor) -> torch.Tensor:
    return module.norm.train()(z)


class Shuffled:
    """Other batches at each pass."""

    def __iter__(self):
        order = torch.randperm(13)
        x, y = (torch.cat(part)[order] for part in zip(*batches(), strict=True))
        return iter([(x, y)])


@pytest.mark.parametrize(
    ("act", "source", "reason"),
    [
        (lambda module, z: nn.functional.dropout(z, 0.5, training=True), None, "dropout"),
        (train_mode, None, "BatchNorm in train mode"),
        (lambda module, z: z, Shuffled(), "shuffles"),
        (lambda module, z: z / 0, None, "diverged"),
        (
            lambda module, z: z,
            [(torch.zeros(0, *SHAPE).double(), torch.zeros(0).long())],
            "at least one sample",
        ),
    ],
)
def test_passes_that_differ_are_refused_with_the_reason(act, source, reason):
    with pytest.raises(BadInput, match=reason):
        odd(act, source)


def test_unknown_parameters_are_refused():
    with pytest.raises(BadInput, match="only: expected names of parameters; got nowhere"):
        curvature("mlp", only=["nowhere"])
