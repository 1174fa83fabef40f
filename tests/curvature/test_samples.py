"""Samples as curvature sees them: shared out without loss, and fresh ones alike on every share."""

import numpy as np
import pytest
import torch

from mpifl.curvature import Fixed, Fresh
from mpifl.data.augmentation import Augmentation
from mpifl.data.batches import Samples


def samples() -> Samples:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (50, 1, 4, 4), dtype=np.uint8)
    return Samples(images, np.arange(50), (0.5,), (0.25,))


def labels(data) -> list[int]:
    return torch.cat([y for _, y in data]).tolist()


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_shares_of_fixed_samples_make_the_whole_in_even_parts(shares):
    parts = [Fixed(samples(), np.arange(40), 6, share, shares) for share in range(shares)]
    assert sum(map(labels, parts), []) == list(range(40))
    sizes = [len(labels(part)) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert max(len(y) for _, y in parts[0]) <= 6


def test_fresh_samples_differ_from_pass_to_pass_and_agree_between_shares():
    def fresh(share=0, shares=1):
        crop = Augmentation(crop=1, flip=0.5)
        return Fresh(samples(), np.arange(50), 8, 3, crop, 1, "test", share, shares)

    whole, first, second = fresh(), fresh(0, 2), fresh(1, 2)
    once, again = labels(whole), labels(whole)
    assert len(once) == 24
    assert once != again
    assert sorted(labels(first) + labels(second)) == sorted(once)
    assert labels(fresh()) == once
