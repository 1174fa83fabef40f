"""Measures of generalisation against numbers worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mpifl.training.generalisation import (
    balanced_accuracy,
    calibration_error,
    over_clients,
    percentile,
    recalls,
    skewed_accuracy,
)
from mpifl.training.measures import Measures
from mpifl.training.tallies import OWN as OWN_SETS
from mpifl.training.tallies import TRAIN

TRAINING = ([8, 3, 4, 1], [8, 4, 4, 1])
OWN = ([1, 1, 0, 0], [2, 1, 1, 0])
UNSEEN = ([3, 1], [10, 2])


def measured(counts):
    right, samples = counts
    return over_clients(np.array(right), np.array(samples))


def test_means_over_clients_and_over_samples_are_told_apart():
    found = [measured(counts) for counts in (TRAINING, OWN, UNSEEN)]
    assert [one.mean for one in found] == pytest.approx([0.9375, 0.5, 0.4])
    assert [one.pooled for one in found] == pytest.approx([16 / 17, 0.5, 1 / 3])
    assert [one.variance for one in found] == pytest.approx([0.01171875, 1 / 6, 0.01])
    assert [one.clients for one in found] == [4, 3, 2]


def test_gaps_are_over_the_clients_that_have_both_and_of_either_mean():
    participants = np.arange(4)
    right = {TRAIN: [*TRAINING[0], 0, 0], OWN_SETS: [*OWN[0], *UNSEEN[0]]}
    samples = {TRAIN: [*TRAINING[1], 0, 0], OWN_SETS: [*OWN[1], *UNSEEN[1]]}
    sets = []
    tallies = {}
    for name in (TRAIN, OWN_SETS):
        n = np.array(samples[name])
        sets.append(
            SimpleNamespace(name=name, samples_by_client=n, samples_by_class=n, samples_by_domain=n)
        )
        counted = np.array(right[name])
        tallies[name] = SimpleNamespace(right_by_client=counted, losses=n - counted)
    found = Measures(sets, participants, np.ones((6, 2), int)).columns(tallies)
    assert found["out_of_sample_gap"] == pytest.approx(0.416667, abs=1e-6)
    assert found["out_of_sample_gap_pooled"] == pytest.approx(0.4375)
    assert found["participation_gap"] == pytest.approx(0.1)
    assert found["participation_gap_pooled"] == pytest.approx(0.166667, abs=1e-6)
    # The losses are 1 for each wrong sample: the same gaps, of which more is worse as well.
    assert found["out_of_sample_gap_loss"] == pytest.approx(0.416667, abs=1e-6)
    assert found["participation_gap_loss_pooled"] == pytest.approx(0.166667, abs=1e-6)


def test_domains_of_unlike_sizes_weigh_the_same_in_the_mean_and_by_size_in_the_pooled_one():
    sizes = np.array([2048, 2344, 1670, 3929])
    found = over_clients(np.array([0.80, 0.75, 0.95, 0.60]) * sizes, sizes)
    assert found.mean == pytest.approx(0.775)
    assert found.pooled == pytest.approx(0.734691, abs=1e-6)
    assert found.lowest == pytest.approx(0.60)


def test_worst_and_best_tenth_of_23_clients_are_two_clients_each():
    accuracy = np.array([50, 50, 60] + [80] * 18 + [95, 100])
    found = over_clients(accuracy, np.full(23, 100))
    assert (found.worst, found.best) == (0.5, 0.975)
    assert found.mean == pytest.approx(0.780435, abs=1e-6)
    assert found.variance * 1e4 == pytest.approx(118.9981, abs=1e-4)


def test_clients_without_samples_are_left_out():
    found = over_clients(np.zeros(2), np.zeros(2, int))
    assert found.clients == 0
    assert np.isnan(found.mean)


def test_percentiles_are_of_nearest_rank():
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert percentile(values, 25) == 0.2
    for q in (5, 25, 50, 75, 95):
        assert percentile(np.arange(21.0), q) == np.percentile(np.arange(21.0), q)


def test_recall_by_class_and_its_mean_over_classes_that_were_tested():
    recall = recalls(np.array([40, 20, 0]), np.array([50, 50, 0]))
    assert recall.tolist()[:2] == [0.8, 0.4]
    assert np.isnan(recall[2])
    assert balanced_accuracy(np.array([40, 20, 0]), np.array([50, 50, 0])) == pytest.approx(0.6)


def test_what_a_label_skewed_client_would_see_and_on_how_much_of_its_labels_that_rests():
    recall = np.array([0.8, 0.4, np.nan])
    counts = np.array([[90, 10, 0], [2, 8, 0], [3, 0, 3], [0, 0, 4]])
    seen = skewed_accuracy(recall, counts)
    assert seen.accuracy[:3] == pytest.approx([0.76, 0.48, 0.8])
    assert np.isnan(seen.accuracy[3])
    assert seen.mass == pytest.approx([1, 1, 0.5, 0])


@pytest.mark.parametrize(("bins", "error"), [(15, 0.221905), (10, 0.207619)])
def test_calibration_error_of_seven_samples(bins, error):
    confidence = np.array([0.95, 0.92, 0.6, 0.6, 0.55, 1 / 3, 1])
    right = np.array([1, 0, 1, 0, 1, 0, 1])
    places = np.clip(np.ceil(confidence * bins), 1, bins).astype(int) - 1
    if bins == 15:
        assert (places + 1).tolist() == [15, 14, 9, 9, 9, 5, 15]
    found = calibration_error(
        np.bincount(places, minlength=bins),
        np.bincount(places, right, bins),
        np.bincount(places, confidence, bins),
    )
    assert found == pytest.approx(error, abs=1e-6)
