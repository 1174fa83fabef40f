"""A dry run: the partition, clients and messages of a run, from the labels and a few images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mpifl.config import expanded
from mpifl.data import packed
from mpifl.data.dataset import Dataset, chosen, refuse_beyond
from mpifl.data.holdout import Held, HoldOut
from mpifl.data.left_out import is_left_out, numbers
from mpifl.data.partition import Known
from mpifl.data.partition.iid import Iid
from mpifl.runner import build, schema
from mpifl.training.algorithm import LocalRound
from mpifl.training.client_states import ClientState
from mpifl.training.clients import Clients
from mpifl.training.experiment import Experiment
from mpifl.training.heterogeneity import Heterogeneity
from mpifl.training.local import Trained
from mpifl.training.messages import Reply, Sent, Vectors
from mpifl.training.sampling import Participation
from mpifl.training.timetable import Timetable, timetable

_TRIAL_BATCHES = 4


@dataclass(frozen=True)
class DryRun:
    """All parts of a run that can be made without training."""

    config: schema.Config
    data: Labels
    clients: Clients
    """all clients, with the samples that the run gives them; they have only the images of `trial`,
    so they cannot be played
    """
    trial: Experiment
    """one client with a few real samples, and one batch of the test: it can be played and timed"""
    held: Held
    """the partition, divided into what trains and what is held out"""

    @cached_property
    def timetable(self) -> Timetable:
        """Who trains in each round, and on how many minibatches."""
        config = self.config
        return timetable(
            self.clients,
            config.participation,
            config.heterogeneity,
            self.held.participants,
            config.seed,
        )

    def cohort(self, round: int) -> np.ndarray:
        """int64: the clients that train in `round`, sorted."""
        return self.timetable.turn(round).cohort

    @property
    def sent(self) -> Sent:
        """What a client is sent in the first round, on the net's device."""
        net = self.trial.clients.net
        vectors = self.clients.algorithm.send(net.weights.cpu(), self.server)
        return Sent(vectors, net.buffers).to(net.device)

    @property
    def server(self) -> Vectors:
        """What the server remembers before the first round, beside the weights."""
        return self.clients.algorithm.init_server(self.trial.clients.net.weights.cpu())

    @property
    def state(self) -> ClientState:
        """What a client keeps before its first round, on the host."""
        return self.clients.initial_state(self.clients.net.weights.cpu())

    @property
    def reply(self) -> Reply:
        """A reply like those of clients: the algorithm is given the sent weights as trained."""
        sent = self.sent
        state = self.state.to(self.clients.net.device)
        w = sent.algorithm["w"]
        train = _Untrained(self.clients.local_round(int(self.held.participants[0]), 1))
        vectors, _ = self.clients.algorithm.client(sent.algorithm, state.algorithm, train)
        means: dict[str, Tensor] = {}
        for name in self.config.evaluation.models:
            if name != "average":  # that is the server's own
                means[name] = w
        return Reply(vectors, self.clients.buffers.encode(sent.buffers), means)


class _Untrained:
    """The `train` of an algorithm whose clients take no step."""

    def __init__(self, of: LocalRound) -> None:
        self.of = of

    def __call__(self, w: Tensor, **terms: object) -> Trained:
        return Trained(w, 1, 1.0, 1.0, None, 0.0, 0.0)


@dataclass(frozen=True)
class Labels:
    """A data set without its images."""

    name: str
    shape: tuple[int, int, int]
    classes: int
    labels: np.ndarray
    """int64 [training samples]"""
    domains: np.ndarray | None
    """int64 [training samples], or None if there are no domains"""
    clients: np.ndarray | None
    """int64 [training samples]: whose they are in the data; None if the data do not say"""
    test: int
    """test samples: all of the left-out domains, where there are any"""
    domain_names: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """names of the domains that never train"""
    validation: int = 0
    """test samples of the other domains, where some are left out"""

    @property
    def bytes(self) -> int:
        """The memory of the whole data set, with its images."""
        numbers = 1  # beside the image: the label
        for values in (self.domains, self.clients):
            if values is not None:
                numbers += 1
        each = math.prod(self.shape) + numbers * self.labels.itemsize
        return (len(self.labels) + self.test + self.validation) * each


def dry_run(config: schema.Config, device: torch.device | str = "cpu") -> DryRun:
    """Make everything of a run except its training; raises BadInput where the run would."""
    if config.data.path:  # of a packed data set only a few images are read
        data = _packed_labels(config)
    else:
        whole = build.load_data(config.data, config.seed, config.holdout.domains)
        data = _labels(whole)
    held = build.divided(config, Known(data.labels, data.domains, data.clients))
    parts = held.training
    trained = _trial_samples(parts.sizes[held.participants], config.local.batch)
    tested = min(config.evaluation.batch, data.test)
    if config.data.path:
        whole = packed.head(expanded(config.data.path, "data.path"), max(trained, tested))
    # a test of left-out domains may have more images than the file's test split
    test_places = np.arange(tested) % len(whole.test)
    of_trial = replace(
        whole, train=whole.train.take(np.arange(trained)), test=whole.test.take(test_places)
    )
    trial = build.experiment(_one_client(config), of_trial, torch.device(device))
    clients = replace(trial.clients, parts=parts, labels=data.labels)
    return DryRun(config, data, clients, trial, held)


def _trial_samples(sizes: np.ndarray, batch: int) -> int:
    """How many samples the trial's client has: a few full batches, as the median client has; or its
    number of samples, if that is less than a batch.
    """
    median = max(1, int(np.median(sizes)))
    full = min(median // batch, _TRIAL_BATCHES)
    return full * batch if full else median


def _labels(dataset: Dataset) -> Labels:
    train = dataset.train
    return Labels(
        dataset.name,
        dataset.shape,
        len(dataset.classes),
        train.labels,
        train.domains,
        train.clients,
        len(dataset.test),
        dataset.domain_names,
        dataset.left_out,
        len(dataset.validation or ()),
    )


def _packed_labels(config: schema.Config) -> Labels:
    found = packed.describe(expanded(config.data.path, "data.path"))
    labels = found.labels
    domains = found.domains
    clients = found.clients
    test_domains = found.test_domains
    test = config.data.test_limit or found.test
    refuse_beyond("test", test, found.test)
    if config.data.test_limit and test_domains is not None:
        test_domains = test_domains[chosen("test", found.test_labels, test, config.seed)]
    if config.data.train_limit:
        kept = chosen("train", labels, config.data.train_limit, config.seed)
        labels = labels[kept]
        domains = _at(domains, kept)
        clients = _at(clients, kept)
    whole = Labels(
        found.name,
        found.shape,
        len(found.classes),
        labels,
        domains,
        clients,
        test,
        found.domain_names,
    )
    return _without_left_out(whole, test_domains, config.holdout.domains)


def _without_left_out(
    data: Labels, test_domains: np.ndarray | None, domains: Sequence[str | int]
) -> Labels:
    """As `leave_out` does with images; `test_domains` are int64 [test samples]."""
    names = data.domain_names
    left_out = numbers(domains, names, data.name)
    if not left_out:
        return data
    train_is_out, test_is_out = is_left_out(left_out, data.domains, test_domains, names)
    tested = np.count_nonzero(train_is_out) + np.count_nonzero(test_is_out)
    return replace(
        data,
        labels=data.labels[~train_is_out],
        domains=_at(data.domains, ~train_is_out),
        clients=_at(data.clients, ~train_is_out),
        test=int(tested),
        left_out=tuple(names[number] for number in left_out),
        validation=int(np.count_nonzero(~test_is_out)),
    )


def _at(values: np.ndarray | None, places: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[places]


def _one_client(config: schema.Config) -> schema.Config:
    evaluation = replace(config.evaluation, train_every=0, train_samples=0)
    return replace(
        config,
        clients=1,
        partition=Iid(),
        participation=Participation(),
        heterogeneity=Heterogeneity(),
        holdout=HoldOut(),
        evaluation=evaluation,
    )
