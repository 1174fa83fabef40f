"""Eigenpairs at the ends of spectra, against dense matrices: networks', degenerate, zero, negative
ones.
"""

import numpy as np
import pytest
import torch
from curvature.nets import KINDS, curvature, dense

from mpifl.curvature import Matrix, deflated, lanczos, power
from mpifl.options import BadInput


def matrix(values) -> Matrix:
    """A dense matrix with these eigenvalues, in a random basis."""
    values = torch.as_tensor(values, dtype=torch.float64)
    random = torch.Generator().manual_seed(1)
    Q, _ = torch.linalg.qr(
        torch.randn(len(values), len(values), generator=random, dtype=torch.float64)
    )
    return Matrix((Q * values) @ Q.T)


def outliers(d: int = 300, top: int = 10) -> np.ndarray:
    """A spectrum as networks have it: some large eigenvalues, each 0.85 of the one before, and a
    bulk near zero.
    """
    return np.concatenate([100 * 0.85 ** np.arange(top), np.linspace(-2, 5, d - top)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_top_five_and_the_smallest_are_right_to_a_millionth(kind):
    ends, right = (
        lanczos(curvature(kind), 5, 1, tolerance=1e-8),
        torch.linalg.eigvalsh(dense(kind)).numpy(),
    )
    assert ends.top.converged.all()
    assert np.abs(ends.top.values - right[:-6:-1]).max() < 1e-6 * right[-1]
    assert abs(ends.bottom.values[0] - right[0]) < 1e-6 * right[-1]
    residuals = (
        dense(kind) @ ends.top.vectors.T - ends.top.vectors.T * torch.from_numpy(ends.top.values)
    ).norm(dim=0)
    assert (residuals.numpy() <= ends.top.residuals + 1e-10).all()


@pytest.mark.parametrize("kind", KINDS)
def test_errors_stay_within_what_is_stated(kind):
    ends, right = lanczos(curvature(kind), 3), torch.linalg.eigvalsh(dense(kind)).numpy()
    for value, residual in zip(ends.top.values, ends.top.residuals, strict=True):
        assert np.abs(right - value).min() <= residual + 1e-12
    assert abs(ends.top.values[0] - right[-1]) <= 3 * ends.top.errors[0]


def test_the_basis_is_orthonormal_and_carries_the_operator():
    H = matrix(outliers())
    basis = lanczos(H, 10, tolerance=1e-8).basis
    W = basis.vectors
    assert (W @ W.T - torch.eye(len(W))).abs().max() < 1e-12
    assert (W @ H.matrix @ W.T - basis.matrix).abs().max() < 1e-10


@pytest.mark.parametrize(
    "values",
    [
        [5, 5, 5, 3, 3, 2, 1, *np.linspace(0.5, 0, 43)],
        [2.0] * 30,
        [0.0] * 30,
        [4, 4, *[0.0] * 28],
        [-1, -1, -3, -3, -3, *np.linspace(-9, -4, 25)],
        [7, 1, -6, -6, *np.linspace(-0.5, 0.5, 46)],
        [1, 2, 3, 4, 5],
    ],
    ids=["copies", "one value", "zero", "rank two", "negative", "both signs", "all of them"],
)
def test_copies_zeros_and_negative_values_are_found(values):
    ends, right = lanczos(matrix(values), 5, tolerance=1e-11), np.sort(values)[::-1]
    assert np.abs(ends.top.values - right[:5]).max() < 1e-9
    assert ends.top.converged.all()


def test_values_near_zero_are_asked_for_at_the_scale_of_the_largest():
    ends = lanczos(matrix([100, *np.linspace(0, 1e-3, 99)]), 1, 1)
    assert ends.products <= 8
    assert abs(ends.bottom.values[0]) < 1e-3 + ends.bottom.residuals[0]


def test_values_that_did_not_converge_are_marked():
    ends = lanczos(matrix(np.linspace(0, 1, 200)), 5, most=8, tolerance=1e-6)
    assert ends.products == 8
    assert not ends.top.converged.all()


@pytest.mark.parametrize("seed", range(4))
def test_ten_values_close_together_are_as_right_as_is_claimed(seed):
    """Each value is 3 % below the one before: residuals of 3 % do not tell one from the next."""
    values = np.concatenate([20 * 0.97 ** np.arange(60), np.linspace(-1, 3, 340)])
    ends = lanczos(matrix(values), 10, seed=seed)
    errors = np.abs(ends.top.values - values[:10])
    assert ends.top.converged.all()
    assert (ends.top.errors <= 1e-3 * ends.top.values).all()
    assert (errors <= 2 * ends.top.errors + 1e-6).all()


def test_one_takes_no_more_products_than_power_iteration_and_ten_a_quarter():
    one, ten = lanczos(matrix(outliers()), 1), lanczos(matrix(outliers()), 10)
    assert abs(one.top.values[0] - 100) < 0.1
    assert one.products <= power(matrix(outliers())).products
    assert np.abs(ten.top.values / outliers()[:10] - 1).max() < 1e-3
    slow = matrix(outliers())
    deflated(slow, 10)
    assert 4 * ten.products <= slow.products


def test_power_iteration_finds_the_largest_magnitude_with_its_sign():
    found = power(matrix([-9, 5, 1, 0.5]), tolerance=1e-9, most=200)
    assert found.value == pytest.approx(-9)
    assert found.residual < 1e-3
    assert power(matrix([0.0] * 5)).value == 0


def test_deflated_power_finds_one_after_the_other():
    values = [pair.value for pair in deflated(matrix([8, 4, -2, 1, 0]), 3, tolerance=1e-10)]
    assert values == pytest.approx([8, 4, -2], abs=1e-6)


def test_the_same_seed_gives_the_same_bits_and_another_the_same_values():
    first, again, other = (
        lanczos(curvature("mlp"), 2, seed=seed, tolerance=1e-10) for seed in (1, 1, 2)
    )
    assert torch.equal(first.top.vectors, again.top.vectors)
    assert np.allclose(first.top.values, other.top.values, rtol=1e-8)
    assert torch.allclose(first.top.vectors, other.top.vectors, atol=1e-3)


@pytest.mark.parametrize(("top", "most"), [(0, 9), (6, 9), (3, 2)])
def test_impossible_numbers_are_refused(top, most):
    with pytest.raises(BadInput, match="lanczos"):
        lanczos(matrix([1, 2, 3, 4, 5]), top, most=most)
