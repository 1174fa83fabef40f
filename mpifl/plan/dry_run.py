"""A run before it is run: its partition, its clients and its messages, from the labels and a
handful of images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mpifl.data import packed
from mpifl.data.dataset import Dataset, chosen, refuse_beyond
from mpifl.data.partition.iid import Iid
from mpifl.runner import build, schema
from mpifl.training.client import Clients
from mpifl.training.experiment import Experiment
from mpifl.training.local import Trained
from mpifl.training.messages import ClientState, Reply, Sent, Vectors
from mpifl.training.sampling import Participation

_TRIAL_BATCHES = 4


@dataclass(frozen=True)
class DryRun:
    """What can be asked before a run."""

    config: schema.Config
    data: Labels
    clients: Clients
    """all clients, with their true parts; their images are the trial's, so they can be asked, not
    played
    """
    trial: Experiment
    """one client with a few real samples and one batch of the test: what can be timed"""

    @property
    def sent(self) -> Sent:
        """What a client is sent in the first round, on the net's device."""
        net = self.trial.clients.net
        vectors = self.config.algorithm.send(net.weights.cpu(), self.server)
        return Sent(vectors, net.buffers).to(net.device)

    @property
    def server(self) -> Vectors:
        """What the server remembers before the first round, beside the weights."""
        return self.config.algorithm.init_server(self.trial.clients.net.weights.cpu())

    @property
    def state(self) -> ClientState:
        """What a client keeps before its first round, on the host."""
        return self.clients.initial_state(self.clients.net.weights.cpu())

    @property
    def reply(self) -> Reply:
        """A reply like those of clients: the algorithm is given the sent weights as trained."""
        sent, state = self.sent, self.state.to(self.clients.net.device)
        untrained = Trained(sent.algorithm["w"], 1, 1.0, 1.0, None, 0.0, 0.0)
        vectors, _ = self.config.algorithm.client(
            sent.algorithm, state.algorithm, lambda w, **terms: untrained
        )
        means = dict.fromkeys(self.config.evaluation.models, untrained.y)
        return Reply(vectors, self.clients.buffers.encode(sent.buffers), means)


@dataclass(frozen=True)
class Labels:
    """A data set but for its images."""

    name: str
    shape: tuple[int, int, int]
    classes: int
    labels: np.ndarray
    """int64 [training samples]"""
    domains: np.ndarray | None
    """likewise"""
    test: int
    """test samples"""

    @property
    def bytes(self) -> int:
        """What the whole data set takes in memory, images and all."""
        each = int(np.prod(self.shape)) + self.labels.itemsize * (
            2 if self.domains is not None else 1
        )
        return (len(self.labels) + self.test) * each


def dry_run(config: schema.Config, device: torch.device | str = "cpu") -> DryRun:
    """Make everything of a run but its training; raises BadInput where the run would."""
    whole = None if config.data.path else build.load_data(config.data, config.seed)
    data = _packed_labels(config) if whole is None else _labels(whole)
    parts = build.partition(config, data.labels, data.domains)
    trained = _like_the_median(parts.sizes, config.local.batch)
    tested = min(config.evaluation.batch, data.test)
    some = packed.head(config.data.path, max(trained, tested)) if whole is None else whole
    trial = build.experiment(
        _one_client(config), _first(some, trained, tested), torch.device(device)
    )
    return DryRun(config, data, replace(trial.clients, parts=parts, labels=data.labels), trial)


def _like_the_median(sizes: np.ndarray, batch: int) -> int:
    """So many samples that batches are as full as the median client's: some full ones, or one that
    is not.
    """
    median = max(1, int(np.median(sizes)))
    return min(median // batch, _TRIAL_BATCHES) * batch or median


def _labels(dataset: Dataset) -> Labels:
    train = dataset.train
    return Labels(
        dataset.name,
        dataset.shape,
        len(dataset.classes),
        train.labels,
        train.domains,
        len(dataset.test),
    )


def _packed_labels(config: schema.Config) -> Labels:
    found, limits = packed.describe(Path(config.data.path)), config.data
    labels, domains, test = found.labels, found.domains, limits.test_limit or found.test
    refuse_beyond("test", test, found.test)
    if limits.train_limit:
        kept = chosen("train", labels, limits.train_limit, config.seed)
        labels, domains = labels[kept], None if domains is None else domains[kept]
    return Labels(found.name, found.shape, len(found.classes), labels, domains, test)


def _one_client(config: schema.Config) -> schema.Config:
    return replace(config, clients=1, partition=Iid(), participation=Participation())


def _first(dataset: Dataset, trained: int, tested: int) -> Dataset:
    train, test = dataset.train.take(np.arange(trained)), dataset.test.take(np.arange(tested))
    return replace(dataset, train=train, test=test)
