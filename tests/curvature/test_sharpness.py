"""Sharpness near a minimum, from below."""

from curvature.nets import batches, curvature, net

from mpifl.curvature import Objective, lanczos, sharpness


def test_within_a_small_radius_it_is_the_slope_and_half_the_largest_eigenvalue():
    made, objective = net("linear"), Objective(net("linear"), batches())
    w, rho = made.weights.clone(), 1e-3
    found, gradient = sharpness(objective, w, rho=rho), objective.gradient(w)[1].norm().item()
    assert found.converged
    assert found.first >= rho * gradient
    top = lanczos(curvature("linear"), 1).top.values[0]
    assert rho * gradient <= found.value <= rho * gradient + 1.01 * rho**2 / 2 * top


def test_further_steps_find_more_than_the_first():
    objective = Objective(net("mlp"), batches())
    found = sharpness(objective, net("mlp").weights, rho=1.0)
    assert found.value > found.first > 0
    assert found.gain <= 0.01 * found.value
