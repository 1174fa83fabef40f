"""Synthetic images: reproducible, of any shape, and learnable."""

import numpy as np
import pytest

from mpifl.data.synthetic import load
from mpifl.options import BadInput


def probe_accuracy(dataset):
    """Test accuracy of ridge regression from pixels to one-hot labels."""
    x, x_test = (
        split.images.reshape(len(split), -1) / 255 - 0.5 for split in (dataset.train, dataset.test)
    )
    y = np.eye(len(dataset.classes))[dataset.train.labels]
    w = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ (y - y.mean(axis=0)))
    return np.mean((x_test @ w + y.mean(axis=0)).argmax(axis=1) == dataset.test.labels)


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (3, 16, 16)},
        {"shape": (1, 8, 8)},
        {"shape": (3, 8, 8), "domains": 3},
        {"classes": 50},
    ],
)
def test_a_linear_probe_learns_far_above_chance(options):
    dataset = load(**{"shape": (3, 12, 12), **options})
    assert probe_accuracy(dataset) > 0.5 > 4 / len(dataset.classes)


def test_labels_are_even_and_shapes_as_asked():
    dataset = load(shape=(2, 5, 9), classes=7, train=100, test=30)
    assert (dataset.shape, len(dataset.train), len(dataset.test), len(dataset.classes)) == (
        (2, 5, 9),
        100,
        30,
        7,
    )
    assert np.ptp(np.bincount(dataset.train.labels)) <= 1


def test_same_seed_same_images():
    options = {"shape": (1, 8, 8), "train": 50, "test": 10}
    first, again, other = (load(**options, seed=seed).checksum for seed in (5, 5, 6))
    assert first == again != other


def test_more_training_images_leave_the_test_images_alone():
    few, many = (load(shape=(1, 8, 8), train=n, test=20) for n in (10, 2000))
    np.testing.assert_array_equal(few.test.images, many.test.images)


def test_domains_differ_in_colour():
    dataset = load(shape=(3, 8, 8), domains=4)
    assert len(dataset.domain_names) == 4
    means = [
        dataset.train.images[dataset.train.domains == d].mean(axis=(0, 2, 3)) for d in range(4)
    ]
    assert min(np.abs(a - b).max() for i, a in enumerate(means) for b in means[:i]) > 5


@pytest.mark.parametrize(
    "options", [{"shape": (8, 8)}, {"classes": 0}, {"train": 0}, {"noise": -1.0}, {"domains": -1}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(BadInput, match="data.synthetic: expected a shape"):
        load(**options)
