"""Statistics of paired differences, against numbers known from elsewhere."""

import math

import numpy as np
import pytest

from mpifl.analysis.runs.statistics import (
    half_width,
    holm,
    paired_p,
    seeds_to_tell,
    sign_flip_p,
    t_quantile,
    two_sided_p,
    welch_half_width,
)

A = np.array([71.2, 69.8, 73.0, 70.4, 72.1])
B = np.array([70.1, 68.9, 71.6, 69.9, 70.8])


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [
        (1, 12.706204736),
        (2, 4.302652730),
        (3, 3.182446305),
        (4, 2.776445105),
        (9, 2.262157163),
        (30, 2.042272456),
        (1000, 1.962339081),
    ],
)
def test_t_quantiles_are_those_of_tables(freedom, quantile):
    assert t_quantile(freedom) == pytest.approx(quantile, abs=1e-9)
    assert two_sided_p(quantile, freedom) == pytest.approx(0.05, abs=1e-9)


@pytest.mark.parametrize("t", [0.1, 1.0, 3.0, 50.0])
def test_tails_agree_with_the_closed_forms_of_one_and_two_degrees(t):
    assert two_sided_p(t, 1) == pytest.approx(1 - 2 * math.atan(t) / math.pi, rel=1e-11)
    assert two_sided_p(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-11)
    assert two_sided_p(-t, 2) == two_sided_p(t, 2)


def test_five_pairs_give_the_mean_difference_its_interval_and_p():
    d = A - B
    assert d.mean() == pytest.approx(1.04)
    assert half_width(d) == pytest.approx(0.444231, abs=5e-7)
    assert paired_p(d) == pytest.approx(0.00289, abs=5e-6)
    assert sign_flip_p(d) == 0.0625
    assert welch_half_width(A, B) == pytest.approx(1.702351, abs=5e-7)


def test_three_pairs_give_a_wider_interval():
    d = (A - B)[:3]
    assert d.mean() == pytest.approx(1.133333, abs=5e-7)
    assert half_width(d) == pytest.approx(0.625161, abs=5e-7)


def test_holm_steps_down_and_stays_monotone():
    assert holm([0.010, 0.020, 0.030, 0.004]) == pytest.approx([0.03, 0.04, 0.04, 0.016])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    with_gap = holm([0.02, math.nan, 0.01])
    assert with_gap[0] == 0.02 and math.isnan(with_gap[1]) and with_gap[2] == 0.02


def test_one_pair_has_no_interval_and_equal_differences_no_p():
    assert math.isnan(half_width(np.array([1.0]))) and math.isnan(paired_p(np.array([1.0])))
    same = np.array([0.1 + 0.2, 0.3, 0.3])  # equal but for rounding
    assert half_width(same) == pytest.approx(0, abs=1e-12)
    assert math.isnan(paired_p(same))
    assert math.isnan(sign_flip_p(np.zeros(3)))


def test_six_pairs_of_one_sign_are_the_first_that_sign_flips_can_tell():
    assert sign_flip_p(np.arange(1.0, 6.0)) == 2 / 2**5 > 0.05
    assert sign_flip_p(np.arange(1.0, 7.0)) == 2 / 2**6 < 0.05
    assert math.isnan(sign_flip_p(np.ones(21)))


def test_seeds_to_tell_are_those_whose_interval_leaves_zero_out():
    d = np.array([1.0, -1.0, 2.0, 0.0])
    n = seeds_to_tell(d)
    deviation = d.std(ddof=1)
    assert t_quantile(n - 1) * deviation / math.sqrt(n) < d.mean()
    assert t_quantile(n - 2) * deviation / math.sqrt(n - 1) >= d.mean()
    assert seeds_to_tell(np.array([1.0, 1.1])) == 6
    assert seeds_to_tell(np.array([1.0])) == seeds_to_tell(np.array([1.0, -1.0])) == 0
