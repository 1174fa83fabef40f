"""Diagonals, traces and their stated errors, against dense matrices."""

import numpy as np
import pytest
import torch
from curvature.nets import KINDS, curvature, dense
from curvature.test_lanczos import matrix, outliers

from mpifl.curvature import (
    Curvature,
    Matrix,
    diagonal,
    lanczos,
    layer_tops,
    layer_traces,
    running_trace,
    trace,
)
from mpifl.options import BadInput


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("deflate", [False, True])
def test_trace_and_diagonal_are_right_within_their_errors(kind, deflate):
    operator, H = curvature(kind), Matrix(dense(kind))
    basis = lanczos(H, 5).basis if deflate else None
    found = diagonal(H, basis, sizes=operator.sizes, most=60)
    assert abs(found.trace.value - H.matrix.trace()) < 4 * found.trace.error
    assert abs(found.norm.value - H.matrix.diagonal().norm()) < 4 * found.norm.error
    apart = (found.mean - H.matrix.diagonal()).square().sum()
    assert 0.5 < apart / found.variance.sum() < 2


def test_probes_through_a_net_are_those_through_its_dense_hessian():
    operator, H = curvature("mlp"), Matrix(dense("mlp"))
    ours, right = (diagonal(o, sizes=operator.sizes, most=8) for o in (operator, H))
    assert (ours.mean - right.mean).abs().max() < 1e-10
    assert (ours.parts - right.parts).abs().max() < 1e-10


def test_stated_errors_cover_the_truth_as_often_as_they_say():
    H = matrix(outliers(60, 4))
    found = [diagonal(H, least=16, most=16, seed=seed) for seed in range(60)]
    off = np.array([(f.trace.value - H.matrix.trace().item()) / f.trace.error for f in found])
    assert 0.8 < off.std() < 1.4
    right = H.matrix.diagonal().square().sum().item()
    squares = np.array([f.square.value for f in found])
    assert abs(squares.mean() - right) < 4 * squares.std() / 60**0.5  # without bias
    naive = np.mean([f.mean.square().sum().item() for f in found])
    assert naive - right > 8 * squares.std() / 60**0.5  # what it is free of
    off = (squares - right) / np.array([f.square.error for f in found])
    assert 0.7 < np.sqrt(np.mean(off**2)) < 1.4


def test_a_diagonal_matrix_is_exact_after_one_probe():
    d = torch.tensor([3.0, -1.0, 0.0, 2.0])
    found = diagonal(Matrix(torch.diag(d)), least=2, most=2)
    assert torch.equal(found.mean, d)
    assert (found.trace.value, found.trace.error) == (4.0, 0.0)
    assert found.norm.value == pytest.approx(14**0.5)


@pytest.mark.parametrize("zero", [Matrix(torch.zeros(9, 9)), matrix([0.0] * 9)])
def test_the_zero_matrix_has_trace_zero(zero):
    found = diagonal(zero, lanczos(zero, 2).basis)
    assert (found.trace.value, found.norm.value, found.probes) == (0, 0, 8)


@pytest.mark.slow
def test_deflation_takes_a_fifth_of_the_products_at_five_percent():
    values = np.concatenate([100 * 0.6 ** np.arange(10), np.linspace(-2, 2, 390)])
    H, plain = matrix(values), matrix(values)
    ends = lanczos(H, 10)
    ours, other = trace(H, ends.basis), trace(plain, most=5000)
    right = H.matrix.trace().item()
    assert abs(ours.value / right - 1) < 0.05
    assert 5 * H.products <= plain.products == other.probes


def test_the_largest_eigenvalue_is_at_most_the_trace_where_none_is_negative():
    H = matrix(np.abs(outliers(50)))
    ends = lanczos(H, 1)
    assert ends.top.values[0] <= trace(H, ends.basis).value


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cnn with group norm", "vit block"])
def test_each_layer_has_its_blocks_eigenvalue_and_trace(kind):
    operator, H = curvature(kind), dense(kind)
    objective, layout = operator.objective, operator.objective.net.layout
    found = diagonal(Matrix(H), sizes=operator.sizes, least=40, most=40)
    traces = layer_traces(found, layout)
    tops = {top.layer: top for top in layer_tops(objective, operator.w, tolerance=1e-7)}
    assert list(tops) == list(traces)
    for layer, estimate in traces.items():
        block = Curvature(
            objective, operator.w, check=False, only=[e.name for e in layout if _of(e.name, layer)]
        )
        places = torch.cat(
            [torch.arange(e.offset, e.offset + e.size) for e in layout if e.name in block.names]
        )
        part = H[places][:, places]
        assert abs(estimate.value - part.trace()) <= 4.5 * estimate.error + 1e-12
        assert tops[layer].value == pytest.approx(
            torch.linalg.eigvalsh(part)[-1].item(), rel=1e-4, abs=1e-6
        )


def _of(name: str, layer: str) -> bool:
    return name == layer or name.rpartition(".")[0] == layer


def test_the_released_rule_stops_where_a_mean_stands_still_and_at_once_where_it_is_negative():
    found, parts = running_trace(matrix(outliers()), [100, 200])
    assert found.probes < 100
    assert found.value == pytest.approx(parts.sum().item())
    sunk, _ = running_trace(matrix(-outliers()), [300])
    unsigned, _ = running_trace(matrix(-outliers()), [300], signed=False)
    assert sunk.probes == 2 < unsigned.probes


def test_too_few_probes_are_refused():
    with pytest.raises(BadInput, match="2 <= least <= most; got 8 and 4"):
        diagonal(matrix([1, 2, 3]), most=4)
