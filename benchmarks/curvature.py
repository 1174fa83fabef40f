"""Estimates of curvature, counted in Hessian products, against power iteration and plain Hutchinson
on the same matrix.

The matrix is the dense Hessian of a trained perceptron on the digits, so that the truth is known:
what is compared is the number of products and the error. The rules of the other side are
PyHessian's (Yao et al. 2020), from the paper.
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
from mpifl.parallel.devices import settle
from mpifl.runner import build, schema

_CLIENTS, _PRODUCTS = 5, 100


def curvature() -> list[Row]:
    """products with a trained perceptron's Hessian: Lanczos, deflated probes : power iteration,
    Hutchinson
    """
    settle(torch.device("cpu"), 1)
    H, clients = _hessians()
    return [*_tops(H), _trace(H), *_disagreement(clients)]


def _tops(H: Tensor) -> list[Row]:
    right = torch.linalg.eigvalsh(H).flip(0).numpy()
    one, slow = lanczos(Matrix(H), 1), power(Matrix(H))
    ten, slower = lanczos(Matrix(H), 10), Matrix(H)
    pairs = deflated(slower, 10)
    wrong = f"errors {_apart(one.top.values, right):.1e} : {_apart([slow.value], right):.1e}"
    wrongs = f"errors {_apart(ten.top.values, right):.1e} : {_apart([p.value for p in pairs], right):.1e}"
    return [
        Row.counted(
            "largest eigenvalue: power iteration", one.products, slow.products, 1.001, wrong
        ),
        Row.counted(
            "ten largest: deflated power iteration", ten.products, slower.products, 0.25, wrongs
        ),
    ]


def _apart(values, right: np.ndarray) -> float:
    """The largest relative error."""
    return float(np.abs(np.asarray(values) / right[: len(values)] - 1).max())


def _trace(H: Tensor) -> Row:
    ours, plain, right = Matrix(H), Matrix(H), H.trace().item()
    found = trace(ours, lanczos(ours, 10).basis)
    other = trace(plain, most=20_000)
    wrong = f"errors {abs(found.value / right - 1):.1e} : {abs(other.value / right - 1):.1e}"
    return Row.counted(
        "trace to 5 % at 2 sigma: Hutchinson", ours.products, plain.products, 0.2, wrong
    )


def _disagreement(clients: list[Tensor]) -> list[Row]:
    """H_N and H_D of clients at equal products: relative errors in percent, ours and of averaged
    diagonals.
    """
    truth, naive, ours = [], [], []
    for number, H in enumerate(clients):
        operator = Matrix(H)
        basis = lanczos(operator, 10, most=60).basis
        left = _PRODUCTS - operator.products
        ours.append(diagonal(operator, basis, least=left, most=left, seed=number))
        naive.append(diagonal(Matrix(H), least=_PRODUCTS, most=_PRODUCTS, seed=number).mean)
        truth.append(Diagonal(H.diagonal(), torch.zeros(len(H)), torch.zeros(2, 1)))
    right, found = disagreement(truth), disagreement(ours)
    other, k = as_released(torch.stack(naive)), len(clients)
    plain = {"H_N": other.H_N.value * k / (k - 1), "H_D": (other.H_D.value * k - 1) / (k - 1)}
    rows = []
    for name, of in plain.items():
        value, exact = (getattr(d, name).value for d in (found, right))
        percent = 100 * abs(value / exact - 1), 100 * abs(of / exact - 1)
        note = f"{value:.4g} : {of:.4g}, truth {exact:.4g}; bar 3 %: {'yes' if percent[0] < 3 else 'NO'}"
        rows.append(
            Row.counted(
                f"{name} at {_PRODUCTS} products, error in %: averaged", *percent, None, note
            )
        )
    return rows


def _hessians() -> tuple[Tensor, list[Tensor]]:
    """Of a net trained on all digits, and of copies trained on with a few classes each, on these
    samples.
    """
    config = schema.resolve({"data": {"name": "digits"}, "model": {"name": "mlp", "hidden": [32]}})
    dataset = build.load_data(config.data, 0)
    net = build.network(config, dataset.shape, len(dataset.classes), torch.device("cpu"))
    samples = Samples(dataset.train.images, dataset.train.labels, dataset.mean, dataset.std)
    every, labels = np.arange(len(samples)), dataset.train.labels
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


def _train(net, samples: Samples, own: np.ndarray, steps: int) -> None:
    random = np.random.default_rng(0)
    net.module.train()
    for _ in range(steps):
        chosen = torch.from_numpy(random.choice(own, 64))
        loss = torch.nn.functional.cross_entropy(
            net(samples.pick(chosen)).logits, samples.labels[chosen]
        )
        net.weights -= 0.1 * net.take_gradient(loss)


def _dense(net, samples: Samples, own: np.ndarray, w: Tensor) -> Tensor:
    H = dense(Curvature(Objective(net, Fixed(samples, own[:400], 400)), w), 64).double()
    return (H + H.T) / 2
