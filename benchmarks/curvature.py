"""Estimates of curvature, counted in Hessian products, against power iteration and plain Hutchinson
on the same matrix.

The matrix is the dense Hessian of a trained perceptron on the digits, so the truth is known. Both
the number of products and the errors are compared. The other side stops as PyHessian does (Yao et
al. 2020), from the paper.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.report import Row
from mpifl.curvature import (
    Curvature,
    Diagonal,
    Fixed,
    Matrix,
    Objective,
    as_released,
    deflated,
    dense,
    diagonal,
    disagreement,
    lanczos,
    power,
    trace,
)
from mpifl.data.batches import Samples
from mpifl.net import Net
from mpifl.parallel.devices import configure
from mpifl.runner import build, schema

_CLIENTS, _PRODUCTS = 5, 100
_BLOCK = 4
_COST_IN_BLOCKS = 0.75
"""time of a product in a block of four, in single ones, as measured of a CNN"""


def curvature() -> list[Row]:
    """products with a trained perceptron's Hessian: Lanczos, deflated probes : power iteration,
    Hutchinson
    """
    configure(torch.device("cpu"), 1)
    H, clients = _hessians()
    return [*_tops(H), _trace(H), *_disagreement(clients)]


def _tops(H: Tensor) -> list[Row]:
    right = torch.linalg.eigvalsh(H).flip(0).numpy()
    one = lanczos(Matrix(H), 1)
    one_by_power = power(Matrix(H))
    ten = lanczos(Matrix(H), 10)
    counted = Matrix(H)
    ten_by_power = [pair.value for pair in deflated(counted, 10)]
    in_blocks = Matrix(H)
    _by_blocks(in_blocks, right, _largest_error(ten.top.values, right))
    errors_of_one = _errors(one.top.values, [one_by_power.value], right)
    errors_of_ten = _errors(ten.top.values, ten_by_power, right)
    return [
        Row.counted(
            "largest eigenvalue: power iteration",
            one.products,
            one_by_power.products,
            1.001,
            errors_of_one,
        ),
        Row.counted(
            "ten largest: deflated power iteration",
            ten.products,
            counted.products,
            0.25,
            errors_of_ten,
        ),
        Row.counted(
            "ten largest: block Lanczos, four at a time, as right",
            ten.products,
            in_blocks.products,
            None,
            f"block Lanczos would take less time above {_COST_IN_BLOCKS}",
        ),
    ]


def _by_blocks(H: Matrix, right: np.ndarray, error: float) -> None:
    """Ten largest eigenvalues by block Lanczos, until their true relative error is `error`."""
    random = torch.Generator().manual_seed(0)
    start = torch.randn(_BLOCK, H.dimension, generator=random, dtype=H.dtype)
    block = torch.linalg.qr(start.T).Q.T
    basis = block
    products = H(block)
    while True:
        values = torch.linalg.eigvalsh(basis @ products.T).flip(0)[:10].numpy()
        enough = len(values) == 10 and _largest_error(values, right) <= max(error, 1e-4)
        if enough or len(basis) + _BLOCK > H.dimension:
            return
        rest = products[-_BLOCK:]
        for _ in range(2):
            rest = rest - (rest @ basis.T) @ basis
        block = torch.linalg.qr(rest.T).Q.T
        basis = torch.cat([basis, block])
        products = torch.cat([products, H(block)])


def _errors(ours: np.ndarray, other: list[float], right: np.ndarray) -> str:
    return f"errors {_largest_error(ours, right):.1e} : {_largest_error(other, right):.1e}"


def _largest_error(values: np.ndarray | list[float], right: np.ndarray) -> float:
    """The largest relative error."""
    return float(np.abs(np.asarray(values) / right[: len(values)] - 1).max())


def _trace(H: Tensor) -> Row:
    ours = Matrix(H)
    plain = Matrix(H)
    right = H.trace().item()
    found = trace(ours, lanczos(ours, 10).basis)
    other = trace(plain, most=20_000)
    wrong = f"errors {abs(found.value / right - 1):.1e} : {abs(other.value / right - 1):.1e}"
    return Row.counted(
        "trace to 5 % at 2 sigma: Hutchinson", ours.products, plain.products, 0.2, wrong
    )


def _disagreement(clients: list[Tensor]) -> list[Row]:
    """H_N and H_D of clients at equal products: relative errors in percent, of ours and of averaged
    diagonals.
    """
    truth = []
    naive = []
    ours = []
    for number, H in enumerate(clients):
        operator = Matrix(H)
        basis = lanczos(operator, 10, most=60).basis
        left = _PRODUCTS - operator.products
        ours.append(diagonal(operator, basis, least=left, most=left, seed=number))
        naive.append(diagonal(Matrix(H), least=_PRODUCTS, most=_PRODUCTS, seed=number).mean)
        truth.append(Diagonal(H.diagonal(), torch.zeros(len(H)), torch.zeros(2, 1)))
    right = disagreement(truth)
    found = disagreement(ours)
    other = as_released(torch.stack(naive))
    k = len(clients)
    other_norms = other.H_N.value * k / (k - 1)
    other_angles = (other.H_D.value * k - 1) / (k - 1)
    return [
        _compared("H_N", found.H_N.value, other_norms, right.H_N.value),
        _compared("H_D", found.H_D.value, other_angles, right.H_D.value),
    ]


def _compared(name: str, ours: float, other: float, right: float) -> Row:
    error = 100 * abs(ours / right - 1)
    verdict = "yes" if error < 3 else "NO"
    return Row.counted(
        f"{name} at {_PRODUCTS} products, error in %: averaged",
        error,
        100 * abs(other / right - 1),
        None,
        f"{ours:.4g} : {other:.4g}, truth {right:.4g}; bar 3 %: {verdict}",
    )


def _hessians() -> tuple[Tensor, list[Tensor]]:
    """The Hessian of a net trained on all digits; and those of copies, each trained further on a
    few classes, on the samples of these.
    """
    config = schema.resolve({"data": {"name": "digits"}, "model": {"name": "mlp", "hidden": [32]}})
    dataset = build.load_data(config.data, 0)
    net = build.network(config, dataset.shape, len(dataset.classes), torch.device("cpu"))
    samples = Samples(dataset.train.images, dataset.train.labels, dataset.mean, dataset.std)
    every = np.arange(len(samples))
    labels = dataset.train.labels
    _train(net, samples, every, 600)
    w = net.weights.clone()
    whole = _dense(net, samples, every, w)
    parts = []
    for client in range(_CLIENTS):
        net.load(w)
        own = every[np.isin(labels, [client, client + 1, client + 5])]
        _train(net, samples, own, 40 + 20 * client)
        parts.append(_dense(net, samples, own, net.weights.clone()))
    return whole, parts


def _train(net: Net, samples: Samples, own: np.ndarray, steps: int) -> None:
    random = np.random.default_rng(0)
    net.module.train()
    for _ in range(steps):
        chosen = torch.from_numpy(random.choice(own, 64))
        loss = torch.nn.functional.cross_entropy(
            net(samples.pick(chosen)).logits, samples.labels[chosen]
        )
        net.weights -= 0.1 * net.take_gradient(loss)


def _dense(net: Net, samples: Samples, own: np.ndarray, w: Tensor) -> Tensor:
    H = dense(Curvature(Objective(net, Fixed(samples, own[:400], 400)), w), 64).double()
    return (H + H.T) / 2
