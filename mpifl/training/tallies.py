"""Counts over evaluated samples: right and loss by client, domain, class; top 5; confidence by bin.

All counts are integers, losses and confidences in units of 2^-24. So they are the same to the bit
in whatever order samples, batches and ranks are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mpifl.data.batches import Samples

TEST, TRAIN, OWN, SOURCE = "test", "train", "own", "source"
"""names of sets: the test set, the training samples, the clients' own test sets, the test samples
of the domains that train (where others are left out)
"""
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
    domains: Tensor
    """int64 [n]: the domain of each sample, on the same device; 0 where domain_count is 0"""
    domain_count: int
    """how many domains the data have; 0: samples have no domain"""
    classes: int

    def __len__(self) -> int:
        return len(self.indices)

    def part(self, client: int) -> EvaluationSet:
        """The samples of one client, which stand together."""
        bounds = torch.tensor([client, client + 1], device=self.owners.device)
        start, stop = torch.searchsorted(self.owners, bounds).tolist()
        place = slice(start, stop)
        return replace(
            self,
            indices=self.indices[place],
            owners=self.owners[place],
            domains=self.domains[place],
        )

    def of_client(self, client: int) -> EvaluationSet:
        """The samples of one client, without owners and domains."""
        part = self.part(client)
        nobody = torch.zeros_like(part.indices)
        return replace(part, owners=nobody, clients=0, domains=nobody, domain_count=0)

    def for_each(
        self, ids: np.ndarray, clients: int, trained: np.ndarray | None = None
    ) -> EvaluationSet:
        """All samples once for each of the clients `ids` (int64, ascending), of `clients`.

        With `trained` (bool [clients, D]) only those of the domains that a client trains on.
        """
        indices = self.indices.repeat(len(ids))
        owners = torch.from_numpy(ids).to(indices.device).repeat_interleave(len(self))
        domains = self.domains.repeat(len(ids))
        if trained is not None:
            is_met = torch.from_numpy(trained).to(indices.device)[owners, domains]
            indices = indices[is_met]
            owners = owners[is_met]
            domains = domains[is_met]
        return replace(self, indices=indices, owners=owners, clients=clients, domains=domains)

    def groups(self, place: slice, device: torch.device) -> tuple[Tensor, Tensor]:
        """Owners and domains of the samples at `place`, int64, on a device."""
        return self.owners[place].to(device), self.domains[place].to(device)

    @property
    def samples_by_client(self) -> np.ndarray:
        """int64 [C]: how many of the samples each client has."""
        return np.bincount(self.owners.cpu().numpy(), minlength=self.clients)[: self.clients]

    @property
    def samples_by_domain(self) -> np.ndarray:
        """int64 [D]: how many of the samples each domain has."""
        counts = np.bincount(self.domains.cpu().numpy(), minlength=self.domain_count)
        return counts[: self.domain_count]

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
    domains: np.ndarray | None = None,
    domain_count: int = 0,
) -> EvaluationSet:
    """The set of all samples, or of those at `indices`, with their `owners` (both int64 [n]).

    `domains`, int64, are those of all samples.
    """
    device = samples.labels.device
    if indices is None:
        indices = np.arange(len(samples))
    if owners is None:
        owners = np.zeros(len(indices), dtype=np.int64)
    if domains is None:
        own_domains = np.zeros(len(indices), dtype=np.int64)
    else:
        own_domains = domains[indices]
    return EvaluationSet(
        name,
        samples,
        torch.from_numpy(indices).to(device),
        torch.from_numpy(owners).to(device),
        clients,
        torch.from_numpy(own_domains).to(device),
        domain_count,
        classes,
    )


class Tally(NamedTuple):
    """What an evaluation has counted; int64 arrays, C clients, K classes, D domains."""

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
    right_by_domain: np.ndarray
    """[D]"""
    loss_by_domain: np.ndarray
    """[D]: as loss_by_client"""
    lost_by_domain: np.ndarray
    """[D]: as lost_by_client"""

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
    def domain_losses(self) -> np.ndarray:
        """f8 [D]: summed cross-entropy by domain; NaN where it is not finite."""
        return _losses(self.loss_by_domain, self.lost_by_domain)

    @property
    def confidences(self) -> np.ndarray:
        """f8 [BINS]: the sum of the confidences in each bin."""
        return self.bin_confidence * _UNIT

    def flat(self) -> np.ndarray:
        """All counts in one vector, int64 [length(C, K, D)]."""
        return np.concatenate(self)


def _losses(units: np.ndarray, lost: np.ndarray) -> np.ndarray:
    return np.where(lost > 0, np.nan, units * _UNIT)


def length(clients: int, classes: int, domains: int = 0) -> int:
    """How many counts there are."""
    return sum(_sizes(clients, classes, domains))


def from_flat(counts: np.ndarray, clients: int, classes: int, domains: int = 0) -> Tally:
    """The inverse of `Tally.flat`."""
    ends = np.cumsum(_sizes(clients, classes, domains))
    return Tally(*np.split(counts, ends[:-1]))


def _sizes(clients: int, classes: int, domains: int) -> list[int]:
    """As many as a Tally has arrays."""
    return [clients] * 3 + [classes, 4, BINS, BINS, BINS] + [domains] * 3


class Counter:
    """Counts batch after batch, on the device of the logits."""

    def __init__(self, of: EvaluationSet, device: torch.device) -> None:
        self.of = of
        self._parts: list[Tensor] = []
        for size in _sizes(of.clients, of.classes, of.domain_count):
            self._parts.append(torch.zeros(size, dtype=torch.int64, device=device))

    def add(
        self, logits: Tensor, labels: Tensor, owners: Tensor, domains: Tensor | None = None
    ) -> None:
        """Count a batch: logits [B, K]; labels, owners, domains int64 [B]; all on one device."""
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
        counted = (right, units, lost)
        if self.of.clients:
            _add_by(owners, self._parts[:3], counted)
        if self.of.domain_count and domains is not None:
            _add_by(domains, self._parts[8:], counted)
        self._parts[3].index_add_(0, labels, right)
        self._parts[4].add_(torch.stack([right.sum(), in_top.sum(), units.sum(), lost.sum()]))
        self._parts[5].index_add_(0, bins, is_finite.long())
        self._parts[6].index_add_(0, bins, right)
        self._parts[7].index_add_(0, bins, _in_units(confidence, is_finite))

    def counts(self) -> np.ndarray:
        """As `Tally.flat`."""
        return torch.cat(self._parts).cpu().numpy()


def _add_by(group: Tensor, sums: Sequence[Tensor], counted: Sequence[Tensor]) -> None:
    """Add what was counted of each sample [B] to the sums of its `group` (int64 [B])."""
    for part, values in zip(sums, counted, strict=True):
        part.index_add_(0, group, values)


def _in_units(values: Tensor, is_finite: Tensor) -> Tensor:
    return torch.where(is_finite, values / _UNIT, 0.0).round().long()


def _rank(logits: Tensor, labels: Tensor) -> Tensor:
    """int64 [B]: how many classes come before the right one; equal logits stand by their number."""
    own = logits.gather(1, labels[:, None])
    before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(1)
