"""Config -> objects, in the order in which they depend on each other: data, partition, net,
clients, experiment. Nothing here needs MPI: what the ranks do together is in `ranks.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpifl import seeds
from mpifl.config import expanded
from mpifl.data import packed
from mpifl.data.batches import Samples
from mpifl.data.dataset import Dataset, limited, stratified
from mpifl.data.holdout import Held, hold_out
from mpifl.data.partition import FromRun, Parts
from mpifl.data.sources import SOURCES
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse as parse_loss
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.runner.schema import Config, Data
from mpifl.store import Run
from mpifl.training.batchnorm import BufferPolicy
from mpifl.training.client import Clients
from mpifl.training.experiment import Experiment
from mpifl.training.tallies import OWN, TRAIN, EvaluationSet, evaluation_set


def load_data(data: Data, seed: int) -> Dataset:
    """The data set that a config names, limited as it says; raises BadInput."""
    if data.path:
        dataset = packed.read(expanded(data.path, "data.path"))
    else:
        options: dict[str, Any] = {}
        for name, value in data.options.items():
            options[name] = tuple(value) if isinstance(value, list) else value
        dataset = SOURCES[data.name].load(**options)
    dataset = limited(dataset, data.train_limit or None, data.test_limit or None, seed)
    if data.normalise:
        return dataset
    channels = len(dataset.mean)
    return replace(dataset, mean=(0.0,) * channels, std=(1.0,) * channels)


def partition(
    config: Config,
    labels: np.ndarray,
    domains: np.ndarray | None,
    stored: np.ndarray | None = None,
) -> Parts:
    """Each client's training samples: a function of the config and of what the data say of them.

    `labels`, `domains` and `stored`, the clients that the data name, are int64 [n].
    """
    random = seeds.generator(config.seed, "partition")
    return config.partition.split(labels, domains, config.clients, random, stored)


def divided(
    config: Config,
    labels: np.ndarray,
    domains: np.ndarray | None,
    stored: np.ndarray | None = None,
) -> Held:
    """Each client's samples, divided into those that train and those that are held out.

    Arguments are those of `partition`.
    """
    return hold_out(config.holdout, partition(config, labels, domains, stored), config.seed)


def network(config: Config, shape: tuple[int, int, int], classes: int, device: torch.device) -> Net:
    """The model with its initial weights, which depend on the seed only."""
    if config.model.classes not in (0, classes):
        raise BadInput(
            f"model.classes: expected {classes}, as many as the data has; got "
            f"{config.model.classes}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.integer(config.seed, "initial weights"))
        try:
            module = config.model.build(shape, classes)
        except (RuntimeError, MemoryError) as error:
            if "memory" not in str(error) and "overflow" not in str(error):
                raise
            raise BadInput(f"model: expected one that fits into memory; got {error}") from None
    channels_last = config.model.channels_last
    if config.runtime.channels_last != "auto":
        channels_last = config.runtime.channels_last == "yes"
    return Net(module, device, channels_last)


def experiment(
    config: Config, dataset: Dataset, device: torch.device, trains: bool = True
) -> Experiment:
    """All that the round loop needs; raises BadInput where config and data do not fit.

    A rank that never `trains`, a server with workers, leaves the training samples in host memory.
    """
    _refuse_partition_of_other_data(config, dataset.checksum)
    train = dataset.train
    held = divided(config, train.labels, train.domains, train.clients)
    _refuse_empty_clients(held)
    net = network(config, dataset.shape, len(dataset.classes), device)
    clients = _clients(
        config, dataset, held.training, net, device if trains else torch.device("cpu")
    )
    return Experiment(
        clients=clients,
        test=Samples(dataset.test.images, dataset.test.labels, dataset.mean, dataset.std, device),
        participation=config.participation,
        evaluation=config.evaluation,
        rounds=config.rounds,
        seed=config.seed,
        objective=config.objective,
        divergence=config.divergence,
        clients_rounds=config.results.clients_rounds(config.rounds),
        states_folder=states_folder(config),
        participants=held.participants,
        held_out=_evaluation_sets(config, clients, held),
    )


def states_folder(config: Config) -> Path | None:
    """Where this rank keeps its clients' states in a file; None: in memory."""
    text = config.runtime.states_folder
    if not text:
        return None
    return expanded(text, "runtime.states_folder")


def _clients(
    config: Config, dataset: Dataset, parts: Parts, net: Net, samples_device: torch.device
) -> Clients:
    train = dataset.train
    loss = parse_loss(config.local.loss, LOSSES)
    loss.check(net.module)
    buffers = "local" if config.algorithm.personal else config.buffers
    clients = Clients(
        net=net,
        samples=Samples(train.images, train.labels, dataset.mean, dataset.std, samples_device),
        parts=parts,
        labels=train.labels,
        classes=len(dataset.classes),
        algorithm=config.algorithm,
        local=config.local,
        loss=loss,
        augmentation=config.data.augment,
        buffers=BufferPolicy(buffers, net.layout),
        seed=config.seed,
        rounds=config.rounds,
        means=config.evaluation.models,
    )
    _refuse_loss_without_vectors(config.local.loss, clients)
    return clients


def _refuse_loss_without_vectors(text: str, clients: Clients) -> None:
    """BadInput where a loss reads vectors that the algorithm does not send."""
    algorithm = clients.algorithm
    w = clients.net.weights.cpu()
    sent = {f"sent.{name}" for name in algorithm.send(w, algorithm.init_server(w))}
    missing = [need for need in sorted(clients.loss.needs - sent) if need.startswith("sent.")]
    if missing:
        raise BadInput(
            f"local.loss: {text!r} expected an algorithm that sends "
            f"{missing[0].removeprefix('sent.')}; got {type(algorithm).__name__}"
        )


def _evaluation_sets(config: Config, clients: Clients, held: Held) -> list[EvaluationSet]:
    """What the global model is evaluated on beside the test set: training and held-out samples."""
    sets = []
    if config.evaluation.train_every:
        training = _chosen(held.training, clients.labels, config)
        sets.append(_set_of_parts(TRAIN, training, clients))
    if len(held.own.indices):
        sets.append(_set_of_parts(OWN, held.own, clients))
    return sets


def _chosen(training: Parts, labels: np.ndarray, config: Config) -> Parts:
    """The training samples that are evaluated: all, or `evaluation.train_samples` of them."""
    count = config.evaluation.train_samples
    if not count:
        return training
    if count > len(training.indices):
        raise BadInput(
            f"evaluation.train_samples: expected at most {len(training.indices)}, the number of "
            f"training samples; got {count}"
        )
    random = seeds.generator(config.seed, "evaluated training samples")
    places = stratified(labels[training.indices], count, random)
    return training.take(places)


def _set_of_parts(name: str, parts: Parts, clients: Clients) -> EvaluationSet:
    owners = np.repeat(np.arange(len(parts)), parts.sizes)
    return evaluation_set(name, clients.samples, clients.classes, parts.indices, owners, len(parts))


def _refuse_partition_of_other_data(config: Config, checksum: str) -> None:
    """BadInput where another run's partition is asked for, but that run had other data."""
    if not isinstance(config.partition, FromRun):
        return
    source = expanded(config.partition.path, "partition.path")
    theirs = Run.open(source).provenance.get("data_checksum", checksum)
    if theirs != checksum:
        raise BadInput(
            f"partition.path: expected a run on this data (checksum {checksum[:16]}); got one on "
            f"other data ({str(theirs)[:16]}); name another run, or set data as that run had it"
        )


def _refuse_empty_clients(held: Held) -> None:
    parts = held.training
    empty = held.participants[parts.sizes[held.participants] == 0]
    if len(empty):
        raise BadInput(
            f"partition: expected samples for each of {len(parts)} clients; got none for "
            f"{len(empty)} of them (client {empty[0]} first); fewer clients, more samples "
            "(data.train_limit), or a less uneven partition"
        )
