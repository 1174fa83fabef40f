"""Domains left out of training: which images train, test and validate, and how they are scaled."""

from __future__ import annotations

import numpy as np
import pytest

from mpifl.data.dataset import Split, assemble, moments
from mpifl.data.left_out import leave_out
from mpifl.data.synthetic import load
from mpifl.options import BadInput

NAMES = ("art", "cartoon", "photo", "sketch")


def dataset(train=(0, 1, 2, 3, 3, 2), test=(3, 1, 0, 2)):
    """One grey image a sample, whose value is its number: training from 0, test from 100."""

    def split(first, domains):
        images = (first + np.arange(len(domains), dtype=np.uint8)).reshape(-1, 1, 1, 1)
        labels = np.arange(len(domains)) % 2
        return Split(images, labels, np.array(domains), np.array(domains))

    return assemble("made", split(0, train), split(100, test), ("a", "b"), "made", NAMES, NAMES)


def numbers(split):
    return split.images.ravel().tolist()


def test_all_images_of_a_left_out_domain_are_the_test_and_test_images_of_the_others_validate():
    left = leave_out(dataset(), ["sketch"])
    assert numbers(left.train) == [0, 1, 2, 5]
    assert numbers(left.test) == [3, 4, 100]
    assert numbers(left.validation) == [101, 102, 103]
    assert left.test.domains.tolist() == [3, 3, 3]
    assert left.test.labels.tolist() == [1, 0, 0]
    assert left.left_out == ("sketch",)


def test_images_are_normalised_by_those_that_train():
    whole = dataset()
    left = leave_out(whole, ["sketch"])
    assert (left.mean, left.std) == moments(left.train.images)
    assert left.mean == pytest.approx((2 / 255,))
    assert left.mean != whole.mean


def test_a_number_is_as_good_as_a_name_and_the_order_does_not_matter():
    one = leave_out(dataset(), [3, 0])
    other = leave_out(dataset(), ["art", "sketch"])
    assert numbers(one.test) == numbers(other.test) == [0, 3, 4, 100, 102]
    assert one.left_out == other.left_out == ("art", "sketch")


def test_with_none_left_out_the_data_set_is_the_same_object():
    whole = dataset()
    assert leave_out(whole, []) is whole
    assert (whole.left_out, whole.validation) == ((), None)


def test_the_checksum_stays_that_of_the_whole_data_set():
    assert leave_out(dataset(), ["photo"]).checksum == dataset().checksum


def test_without_test_images_of_the_other_domains_nothing_validates():
    left = leave_out(dataset(test=(3, 3)), ["sketch"])
    assert left.validation is None
    assert numbers(left.test) == [3, 4, 100, 101]


@pytest.mark.parametrize(
    ("domains", "said"),
    [
        (["skech"], "got 'skech'; did you mean sketch.*allowed: art, cartoon, photo, sketch"),
        ([4], "numbers below 4; got 4"),
        (["art", 0], "each domain once; got art, 0"),
        (list(NAMES), "at least one domain that trains; got all 4 of made left out"),
    ],
)
def test_a_domain_that_cannot_be_left_out_is_refused_in_one_line(domains, said):
    with pytest.raises(BadInput, match=f"holdout.domains: .*{said}") as caught:
        leave_out(dataset(), domains)
    assert "\n" not in str(caught.value)


def test_a_domain_without_samples_is_refused():
    with pytest.raises(BadInput, match="domains with samples; got sketch"):
        leave_out(dataset(train=(0, 1, 2), test=(0,)), ["sketch"])


def test_domains_that_all_training_samples_are_of_are_refused():
    with pytest.raises(BadInput, match="another domain with training samples; got art, photo"):
        leave_out(dataset(train=(0, 2, 0), test=(1,)), ["art", "photo"])


def test_data_without_domains_are_refused():
    with pytest.raises(BadInput, match="data with domains; got synthetic, which has none"):
        leave_out(load(shape=(1, 4, 4), train=10, test=10), ["sketch"])
