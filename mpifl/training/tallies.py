"""Counts over evaluated samples: right and loss by client and class, top 5, confidence by bin.

All counts are integers, losses and confidences in units of 2^-24. So they are the same to the bit
in whatever order samples, batches and ranks are added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mpifl.data.batches import Samples

TEST, TRAIN, OWN = "test", "train", "own"
"""names of sets: the test set, the training samples, the clients' own test sets"""
BINS = 15
"""of confidence, as wide as each other (Guo et al. 2017)"""
TOP = 5
_UNIT = 2.0**-24


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Samples that a model is evaluated on."""

    name: str
    samples: Samples
    indices: Tensor
    """int64 [n], into `samples`, on its device"""
    owners: Tensor
    """int64 [n]: the client of each sample, ascending, on the same device; 0 where clients is 0"""
    clients: int
    """how many clients the owners are among; 0: samples have no owner"""
    classes: int

    def __len__(self) -> int:
        return len(self.indices)

    def part(self, client: int) -> EvaluationSet:
        """The samples of one client, which stand together."""
        bounds = torch.tensor([client, client + 1], device=self.owners.device)
        start, stop = torch.searchsorted(self.owners, bounds).tolist()
        return replace(self, indices=self.indices[start:stop], owners=self.owners[start:stop])

    def of_client(self, client: int) -> EvaluationSet:
        """The samples of one client, without owners."""
        part = self.part(client)
        return replace(part, owners=torch.zeros_like(part.indices), clients=0)

    def for_each(self, ids: np.ndarray, clients: int) -> EvaluationSet:
        """All samples once for each of the clients `ids` (int64, ascending), of `clients`."""
        indices = self.indices.repeat(len(ids))
        owners = torch.from_numpy(ids).to(indices.device).repeat_interleave(len(self))
        return replace(self, indices=indices, owners=owners, clients=clients)

    @property
    def samples_by_client(self) -> np.ndarray:
        """int64 [C]: how many of the samples each client has."""
        return np.bincount(self.owners.cpu().numpy(), minlength=self.clients)[: self.clients]

    @property
    def samples_by_class(self) -> np.ndarray:
        """int64 [K]: how many of the samples each class has."""
        labels = self.samples.labels[self.indices].cpu().numpy()
        return np.bincount(labels, minlength=self.classes)


def evaluation_set(
    name: str,
    samples: Samples,
    classes: int,
    indices: np.ndarray | None = None,
    owners: np.ndarray | None = None,
    clients: int = 0,
) -> EvaluationSet:
    """The set of all samples, or of those at `indices`, with their `owners` (both int64 [n])."""
    device = samples.labels.device
    if indices is None:
        indices = np.arange(len(samples))
    if owners is None:
        owners = np.zeros(len(indices), dtype=np.int64)
    return EvaluationSet(
        name,
        samples,
        torch.from_numpy(indices).to(device),
        torch.from_numpy(owners).to(device),
        clients,
        classes,
    )


class Tally(NamedTuple):
    """What an evaluation has counted; int64 arrays, C clients, K classes."""

    right_by_client: np.ndarray
    """[C]"""
    loss_by_client: np.ndarray
    """[C]: summed cross-entropy of samples whose loss is finite, in units of 2^-24"""
    lost_by_client: np.ndarray
    """[C]: samples whose loss is not finite"""
    right_by_class: np.ndarray
    """[K]"""
    totals: np.ndarray
    """[4]: right, right among the top 5, loss as above, samples whose loss is not finite"""
    bin_samples: np.ndarray
    """[BINS]"""
    bin_right: np.ndarray
    """[BINS]"""
    bin_confidence: np.ndarray
    """[BINS]: the sum of the largest softmax values, in units of 2^-24"""

    @property
    def right(self) -> int:
        """Samples classified right."""
        return int(self.totals[0])

    @property
    def right_in_top(self) -> int:
        """Samples whose class is among the five with the largest logits."""
        return int(self.totals[1])

    @property
    def loss(self) -> float:
        """Summed cross-entropy; NaN where it is not finite."""
        return float(_losses(self.totals[2:3], self.totals[3:4])[0])

    @property
    def losses(self) -> np.ndarray:
        """f8 [C]: summed cross-entropy by client; NaN where it is not finite."""
        return _losses(self.loss_by_client, self.lost_by_client)

    @property
    def confidences(self) -> np.ndarray:
        """f8 [BINS]: the sum of the confidences in each bin."""
        return self.bin_confidence * _UNIT

    def flat(self) -> np.ndarray:
        """All counts in one vector, int64 [length(C, K)]."""
        return np.concatenate(self)


def _losses(units: np.ndarray, lost: np.ndarray) -> np.ndarray:
    return np.where(lost > 0, np.nan, units * _UNIT)


def length(clients: int, classes: int) -> int:
    """How many counts there are."""
    return sum(_sizes(clients, classes))


def from_flat(counts: np.ndarray, clients: int, classes: int) -> Tally:
    """The inverse of `Tally.flat`."""
    ends = np.cumsum(_sizes(clients, classes))
    return Tally(*np.split(counts, ends[:-1]))


def _sizes(clients: int, classes: int) -> list[int]:
    return [clients, clients, clients, classes, 4, BINS, BINS, BINS]


class Counter:
    """Counts batch after batch, on the device of the logits."""

    def __init__(self, of: EvaluationSet, device: torch.device) -> None:
        self._clients = of.clients
        self._parts: list[Tensor] = []
        for size in _sizes(of.clients, of.classes):
            self._parts.append(torch.zeros(size, dtype=torch.int64, device=device))

    def add(self, logits: Tensor, labels: Tensor, owners: Tensor) -> None:
        """Count a batch: logits [B, K], labels and owners int64 [B], all on one device."""
        logits = logits.double()
        loss = functional.cross_entropy(logits, labels, reduction="none")
        is_finite = loss.isfinite() & logits.isfinite().all(1)
        units = _in_units(loss, is_finite)
        rank = _rank(logits, labels)
        right = ((rank == 0) & is_finite).long()
        in_top = ((rank < TOP) & is_finite).long()
        lost = (~is_finite).long()
        confidence = logits.softmax(1).amax(1)
        bins = (confidence * BINS).ceil().clamp(1, BINS).nan_to_num(1.0).long() - 1
        of_client = (right, units, lost)
        if self._clients:
            for part, values in zip(self._parts[:3], of_client, strict=True):
                part.index_add_(0, owners, values)
        self._parts[3].index_add_(0, labels, right)
        self._parts[4].add_(torch.stack([right.sum(), in_top.sum(), units.sum(), lost.sum()]))
        self._parts[5].index_add_(0, bins, is_finite.long())
        self._parts[6].index_add_(0, bins, right)
        self._parts[7].index_add_(0, bins, _in_units(confidence, is_finite))

    def counts(self) -> np.ndarray:
        """As `Tally.flat`."""
        return torch.cat(self._parts).cpu().numpy()


def _in_units(values: Tensor, is_finite: Tensor) -> Tensor:
    return torch.where(is_finite, values / _UNIT, 0.0).round().long()


def _rank(logits: Tensor, labels: Tensor) -> Tensor:
    """int64 [B]: how many classes come before the right one; equal logits stand by their number."""
    own = logits.gather(1, labels[:, None])
    before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(1)
