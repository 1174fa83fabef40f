"""H_N and H_D: by hand, on dense Hessians of clients, and as FedAlign's code has them."""

import numpy as np
import pytest
import torch
from curvature.nets import batches, net

from mpifl.curvature import (
    Curvature,
    Diagonal,
    Matrix,
    Objective,
    as_released,
    dense,
    diagonal,
    disagreement,
    lanczos,
)
from mpifl.options import BadInput


def exactly(values: list[float]) -> Diagonal:
    mean = torch.tensor(values, dtype=torch.float64)
    return Diagonal(mean, torch.zeros_like(mean), mean[None].repeat(2, 1))


def test_two_parallel_diagonals_by_hand():
    found = disagreement([exactly([3, 4]), exactly([6, 8])])
    assert (found.H_N.value, found.H_D.value) == pytest.approx((25, 1))
    assert (found.H_N.error, found.H_D.error) == (0, 0)


def test_three_diagonals_by_hand():
    found = disagreement([exactly([1, 0]), exactly([0, 2]), exactly([3, 3])])
    assert found.H_N.value == pytest.approx(np.mean([1, (18**0.5 - 1) ** 2, (18**0.5 - 2) ** 2]))
    assert found.H_D.value == pytest.approx(np.mean([0, 0.5**0.5, 0.5**0.5]))
    assert found.cosines.diagonal().tolist() == [1, 1, 1]


def test_the_released_code_counts_pairs_of_a_model_with_itself():
    vectors = torch.tensor([[3.0, 4.0], [6.0, 8.0], [8.0, -6.0]])
    ours, released = disagreement([exactly(v) for v in vectors.tolist()]), as_released(vectors)
    assert released.H_N.value == pytest.approx(2 / 3 * ours.H_N.value)
    assert released.H_D.value == pytest.approx(1 / 3 + 2 / 3 * ours.H_D.value)


@pytest.fixture(scope="module")
def hessians() -> list[torch.Tensor]:
    """Of four models that took some steps on their own data, [431, 431] each."""
    return [_after_training(client) for client in range(4)]


def _after_training(client: int) -> torch.Tensor:
    made, data = net("mlp"), batches((10 + 10 * client,), seed=10 + client)
    objective, w = Objective(made, data), made.weights.clone()
    for _ in range(30):
        w -= 0.3 * objective.gradient(w)[1]
    H = dense(Curvature(objective, w))
    return (H + H.T) / 2


@pytest.mark.slow
def test_a_hundred_products_a_model_give_both_within_three_percent(hessians):
    diagonals = []
    for client, H in enumerate(hessians):
        operator = Matrix(H)
        ends = lanczos(operator, 10, most=40)
        diagonals.append(
            diagonal(
                operator, ends.basis, least=8, most=100 - ends.products, tolerance=0, seed=client
            )
        )
        assert operator.products <= 100
    found, truth = (
        disagreement(diagonals),
        disagreement([exactly(H.diagonal().tolist()) for H in hessians]),
    )
    for ours, right in ((found.H_N, truth.H_N), (found.H_D, truth.H_D)):
        assert ours.value == pytest.approx(right.value, rel=0.03)
        assert abs(ours.value - right.value) < 3 * ours.error


def test_one_model_and_norms_lost_in_noise_are_refused():
    with pytest.raises(BadInput, match="at least two models to compare; got 1"):
        disagreement([exactly([1, 2])])
    noise = Diagonal(torch.zeros(4), torch.ones(4), torch.zeros(2, 1))
    with pytest.raises(BadInput, match="more probes"):
        disagreement([noise, noise])
