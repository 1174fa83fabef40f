"""Spectral densities by quadrature: moments, shares and densities of known spectra."""

import numpy as np
import pytest
import torch
from curvature.nets import KINDS, dense
from curvature.test_lanczos import matrix, outliers

from mpifl.curvature import Matrix, spectrum
from mpifl.options import BadInput


@pytest.mark.parametrize("kind", KINDS)
def test_moments_are_right_within_their_errors(kind):
    values = torch.linalg.eigvalsh(dense(kind)).numpy()
    found = spectrum(Matrix(dense(kind)), starts=20, steps=12, tolerance=0)
    for degree in (1, 2, 3, 4):
        value, error = found.moment(degree)
        assert abs(value - np.mean(values**degree)) < 4 * error


def test_low_moments_are_exact_for_each_start():
    H, found = matrix(outliers(80)), spectrum(matrix(outliers(80)), starts=3, steps=6, tolerance=0)
    from mpifl.curvature.probes import signs

    for start, z in enumerate(signs(H, 0, range(3), "curvature quadrature")):
        power = z / z.norm()
        for degree in range(1, 12):
            power = H(power)
            quadrature = (found.weights[start] * found.nodes[start] ** degree).sum()
            assert quadrature == pytest.approx((power @ z / z.norm()).item(), rel=1e-9)


def test_the_share_of_eigenvalues_below_is_right():
    values = outliers(400)
    found, at = (
        spectrum(matrix(values), starts=10, steps=60, tolerance=0),
        np.array([-3, 0, 2.5, 4, 30, 200]),
    )
    share, error = found.share_below(at)
    right = [(values <= x).mean() for x in at]
    assert share[[0, -1]] == pytest.approx([0, 1], abs=1e-12)
    assert np.abs(share - right).max() < 0.02
    assert (np.abs(share - right) < 4 * error + 0.005).all()


def test_the_density_has_area_one_and_its_peaks_where_eigenvalues_are():
    found = spectrum(matrix([5.0] * 20 + [-1.0] * 60), starts=40, steps=10, tolerance=0)
    grid = found.grid(1000)
    density, error = found.density(grid)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)
    assert np.trapezoid(density[grid > 2], grid[grid > 2]) == pytest.approx(0.25, abs=0.05)
    assert grid[density.argmax()] == pytest.approx(-1, abs=0.05)
    assert error.max() < 0.2 * density.max()


def test_a_space_that_is_complete_before_the_last_step_ends_there():
    found = spectrum(matrix([3.0] * 9), starts=2, steps=5)
    assert found.nodes.shape == (2, 1)
    assert found.moment(1)[0] == pytest.approx(3)
    assert spectrum(Matrix(torch.zeros(4, 4))).moment(2)[0] == 0


def test_starts_end_when_the_density_is_known_well_enough():
    H = matrix([5.0] * 20 + [-1.0] * 60)
    every = [spectrum(H, starts=starts, steps=10, tolerance=0).error for starts in range(2, 30)]
    for tolerance in (0.3, 0.15):
        found = spectrum(H, starts=30, steps=10, tolerance=tolerance)
        assert found.error <= tolerance
        assert len(found.nodes) == 2 + next(
            i for i, error in enumerate(every) if error <= tolerance
        )
    assert len(spectrum(H, starts=4, steps=10, tolerance=1e-3).nodes) == 4


def test_no_starts_are_refused():
    with pytest.raises(BadInput, match="at least one start"):
        spectrum(matrix([1, 2]), starts=0)
