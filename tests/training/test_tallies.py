"""Counts of evaluated samples: by client and class, top 5 and confidence, in any order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from mpifl.data.batches import Samples
from mpifl.training import tallies
from mpifl.training.tallies import Counter, evaluation_set

CLASSES, CLIENTS = 7, 3


def made(n=40):
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(n, CLASSES, generator=random)
    labels = torch.randint(CLASSES, (n,), generator=random)
    owners = torch.randint(CLIENTS, (n,), generator=random)
    return logits, labels, owners


def the_set(labels, owners):
    images = np.zeros((len(labels), 1, 1, 1), np.uint8)
    samples = Samples(images, labels.numpy(), (0.0,), (1.0,))
    indices = np.arange(len(labels))
    return evaluation_set("own", samples, CLASSES, indices, owners.numpy(), CLIENTS)


def counted(batches, of):
    counter = Counter(of, torch.device("cpu"))
    for batch in batches:
        counter.add(*batch)
    return tallies.from_flat(counter.counts(), CLIENTS, CLASSES)


def test_counts_are_those_of_the_samples_one_by_one():
    logits, labels, owners = made()
    of = the_set(labels, owners)
    found = counted([(logits, labels, owners)], of)
    right = logits.argmax(1) == labels
    loss = functional.cross_entropy(logits.double(), labels, reduction="none")
    top = (logits.topk(5).indices == labels[:, None]).any(1)
    for client in range(CLIENTS):
        assert found.right_by_client[client] == right[owners == client].sum()
        assert found.losses[client] == pytest.approx(loss[owners == client].sum().item(), abs=1e-5)
    for label in range(CLASSES):
        assert found.right_by_class[label] == right[labels == label].sum()
    assert (found.right, found.right_in_top) == (right.sum(), top.sum())
    assert found.loss == pytest.approx(loss.sum().item(), abs=1e-5)
    assert found.bin_samples.sum() == len(labels)
    assert found.bin_right.sum() == found.right
    assert of.samples_by_client.sum() == of.samples_by_class.sum() == len(labels)


def test_any_order_and_any_shares_give_the_same_counts():
    logits, labels, owners = made()
    of = the_set(labels, owners)
    whole = counted([(logits, labels, owners)], of)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    parts = [(logits[p], labels[p], owners[p]) for p in order.split(9)]
    shares = [counted(parts[share::2], of).flat() for share in range(2)]
    assert (sum(shares) == whole.flat()).all()


def test_of_equal_logits_the_first_five_classes_are_the_top_five():
    for label, is_in_top in ((4, 1), (5, 0)):
        logits, labels = torch.zeros(1, CLASSES), torch.tensor([label])
        found = counted([(logits, labels, labels * 0)], the_set(labels, labels * 0))
        assert found.right_in_top == is_in_top


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_wrong_and_have_no_loss(value):
    logits, labels = torch.tensor([[value] + [0.0] * (CLASSES - 1)]), torch.tensor([0])
    found = counted([(logits, labels, labels)], the_set(labels, labels))
    assert (found.right, found.right_in_top, found.bin_samples.sum()) == (0, 0, 0)
    assert np.isnan(found.loss)
    assert np.isnan(found.losses[0])
    assert found.losses[1] == 0


def test_confidence_is_counted_in_the_bin_whose_upper_end_it_reaches():
    probabilities = torch.tensor([0.95, 0.92, 0.59, 0.55, 1 - 1e-12], dtype=torch.float64)
    logits = torch.full((5, CLASSES), -60.0).double()
    logits[:, 0] = probabilities.log()
    logits[:, 1] = (1 - probabilities).log()
    labels = torch.zeros(5, dtype=torch.int64)
    found = counted([(logits, labels, labels)], the_set(labels, labels))
    assert np.flatnonzero(found.bin_samples).tolist() == [8, 13, 14]
    assert found.bin_samples[[8, 13, 14]].tolist() == [2, 1, 2]
    assert found.confidences.sum() == pytest.approx(probabilities.sum().item(), abs=1e-6)
