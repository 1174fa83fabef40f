"""Data sets in memory: exact moments, a checksum of everything that matters, stratified subsets."""

from dataclasses import replace

import numpy as np
import pytest

from mpifl.data.dataset import Split, assemble, checksum, limited, moments, stratified
from mpifl.data.synthetic import load
from mpifl.options import BadInput
from mpifl.seeds import generator


@pytest.fixture(scope="module")
def dataset():
    return load(shape=(3, 5, 4), classes=4, train=1500, test=200, domains=2)


def test_shape_is_channels_height_width(dataset):
    assert dataset.shape == (3, 5, 4)


def test_moments_are_those_of_float64_pixels(dataset):
    pixels = dataset.train.images.astype(np.float64) / 255
    np.testing.assert_allclose(dataset.mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-14)
    np.testing.assert_allclose(dataset.std, pixels.std(axis=(0, 2, 3)), rtol=1e-13)


def test_moments_do_not_depend_on_blocks(dataset):
    assert moments(dataset.train.images, block=7) == (dataset.mean, dataset.std)


def test_moments_of_a_constant_image_have_no_rounding_noise():
    assert moments(np.full((3, 1, 2, 2), 51, dtype=np.uint8)) == ((0.2,), (0.0,))


def test_constant_channels_are_told(dataset):
    images = dataset.train.images.copy()
    images[:, 1] = 77
    images[:, 2] = 0
    labels = dataset.train.labels
    made = assemble("x", Split(images, labels), Split(images, labels), "abcd", "here")
    assert made.constant_channels == [1, 2]
    assert made.warning == (
        "x: the training images do not vary in these channels (counted from 0), "
        "which the network sees as zeros: 1, 2"
    )
    grey = assemble("x", Split(images[:, 2:], labels), Split(images[:, 2:], labels), "abcd", "here")
    assert grey.warning == "x: the training images do not vary: the network sees zeros only"
    assert (dataset.constant_channels, dataset.warning) == ([], "")


@pytest.mark.parametrize("part", ["images", "labels", "domains"])
@pytest.mark.parametrize("name", ["train", "test"])
def test_checksum_sees_every_part_of_every_split(dataset, name, part):
    splits = {"train": dataset.train, "test": dataset.test}
    values = getattr(splits[name], part).copy()
    values.flat[-1] ^= 1
    splits[name] = replace(splits[name], **{part: values})
    assert checksum(dataset.train, dataset.test) == dataset.checksum
    assert checksum(**splits) != dataset.checksum


def test_checksum_sees_shapes(dataset):
    train = replace(dataset.train, images=dataset.train.images.reshape(1500, 3, 4, 5))
    assert checksum(train, dataset.test) != dataset.checksum


def test_checksum_does_not_see_memory_layout(dataset):
    images = np.asfortranarray(dataset.train.images)
    assert checksum(replace(dataset.train, images=images), dataset.test) == dataset.checksum


def test_limited_keeps_class_shares_and_is_seeded(dataset):
    small = limited(dataset, 100, 20, seed=3)
    assert np.bincount(small.train.labels).tolist() == [25] * 4
    assert np.bincount(small.test.labels).tolist() == [5] * 4
    assert small.checksum == limited(dataset, 100, 20, seed=3).checksum
    assert small.checksum != limited(dataset, 100, 20, seed=4).checksum
    assert (small.mean, small.std) == moments(small.train.images)
    assert small.train.domains.shape == (100,)


def test_limited_without_limits_is_the_same_data(dataset):
    assert limited(dataset, None, None, seed=1) is dataset
    assert limited(dataset, 100, None, seed=1).test is dataset.test


@pytest.mark.parametrize("n", [0, 1501])
def test_limited_refuses_what_is_not_there(dataset, n):
    with pytest.raises(BadInput, match=rf"data.train: expected 1 to 1500 samples.*got {n}"):
        limited(dataset, n, None, seed=1)


@pytest.mark.parametrize("n", [1, 10, 57, 200])
def test_stratified_follows_uneven_shares_and_nests(n):
    groups = np.repeat([0, 1, 2], [120, 60, 20])
    chosen = stratified(groups, n, generator(1, "test"))
    assert len(set(chosen.tolist())) == n
    assert (
        np.abs(np.bincount(groups[chosen], minlength=3) - n * np.array([0.6, 0.3, 0.1])).max() <= 1
    )
    assert set(chosen) <= set(stratified(groups, min(n + 5, 200), generator(1, "test")))


def split(n=2, labels=(0, 1), domains=None, pixel=np.uint8, label=np.int64):
    return Split(np.zeros((n, 1, 2, 2), dtype=pixel), np.array(labels, dtype=label), domains)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pixel": np.float32}, "images uint8"),
        ({"label": np.int32}, "labels int64"),
        ({"n": 3}, r"labels int64 \[3\]; got int64 \[2\]"),
        ({"domains": np.zeros(5, np.int64)}, "domains int64"),
    ],
)
def test_split_refuses_other_types_and_lengths(arguments, message):
    with pytest.raises(BadInput, match=message):
        split(**arguments)


@pytest.mark.parametrize(
    ("train", "test", "names", "message"),
    [
        (split(), split(0, ()), (), "samples in both splits; got 2 train and 0 test"),
        (split(), split(labels=(0, 2)), (), r"labels in 0\.\.1; got 0\.\.2"),
        (split(labels=(-1, 0)), split(), (), r"got -1\.\.0"),
        (split(), split(), ("photo",), "domains and their names"),
        (split(domains=np.zeros(2, np.int64)), split(), ("photo",), "domains and their names"),
        (split(), Split(np.zeros((2, 1, 2, 3), np.uint8), np.array([0, 1])), (), "one image shape"),
    ],
)
def test_assemble_refuses_splits_that_do_not_fit(train, test, names, message):
    with pytest.raises(BadInput, match=message):
        assemble("x", train, test, ("a", "b"), "here", names)
