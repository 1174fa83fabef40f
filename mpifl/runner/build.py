"""Config -> objects, in the order in which they depend on each other: data, partition, net,
clients, experiment. Nothing here needs MPI: what the ranks do together is in `ranks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpifl import seeds
from mpifl.config import expanded
from mpifl.data import packed
from mpifl.data.batches import Samples
from mpifl.data.dataset import Dataset, Split, limited, stratified
from mpifl.data.holdout import Held, hold_out
from mpifl.data.left_out import leave_out
from mpifl.data.partition import FromRun, Known, Parts, counts
from mpifl.data.partition.natural import Natural
from mpifl.data.sources import SOURCES
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse as parse_loss
from mpifl.models.frozen import freeze
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.runner.crop_size import check_crop_size
from mpifl.runner.schema import Config
from mpifl.runner.sections import Data
from mpifl.runner.start import load_start
from mpifl.store import Run
from mpifl.training.batchnorm import BufferPolicy
from mpifl.training.clients import Clients
from mpifl.training.experiment import Experiment
from mpifl.training.tallies import OWN, SOURCE, TRAIN, EvaluationSet, evaluation_set


def load_data(data: Data, seed: int, left_out: Sequence[str | int] = ()) -> Dataset:
    """The data set that a config names, limited as it says, without the domains that it leaves out
    (`holdout.domains`); raises BadInput.
    """
    if data.path:
        dataset = packed.read(expanded(data.path, "data.path"))
    else:
        options: dict[str, Any] = {}
        for name, value in data.options.items():
            options[name] = tuple(value) if isinstance(value, list) else value
        dataset = SOURCES[data.name].load(**options)
    dataset = limited(dataset, data.train_limit or None, data.test_limit or None, seed)
    dataset = leave_out(dataset, left_out)
    if data.normalise:
        return dataset
    channels = len(dataset.mean)
    return replace(dataset, mean=(0.0,) * channels, std=(1.0,) * channels)


def partition(config: Config, known: Known) -> Parts:
    """Each client's training samples: a function of the config and of what the data say."""
    random = seeds.generator(config.seed, "partition")
    return config.partition.split(known, config.clients, random)


def divided(config: Config, known: Known) -> Held:
    """Each client's samples, divided into those that train and those that are held out."""
    _refuse_clients_without_other_domains(config, known.clients)
    return hold_out(config.holdout, partition(config, known), config.seed)


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
            torch.manual_seed(seeds.integer(config.seed, "lora"))
            if config.model.lora.rank:
                config.model.lora.apply(module)
            freeze(module, config.model)
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
    _refuse_partition_of_other_data(config, dataset)
    train = dataset.train
    held = divided(config, Known(train.labels, train.domains, train.clients))
    _refuse_empty_clients(held)
    net = network(config, dataset.shape, len(dataset.classes), device)
    net.bf16 = config.precision == "bf16"
    check_crop_size(config, dataset.shape, net)
    load_start(config, net)
    clients = _clients(
        config, dataset, held.training, net, device if trains else torch.device("cpu")
    )
    return Experiment(
        clients=clients,
        test=_samples(dataset, dataset.test, device),
        stores_start=bool(config.init) or len(net.frozen) > 0,
        participation=config.participation,
        heterogeneity=config.heterogeneity,
        evaluation=config.evaluation,
        rounds=config.rounds,
        seed=config.seed,
        objective=config.objective,
        divergence=config.divergence,
        clients_rounds=config.results.clients_rounds(config.rounds),
        lanes=config.runtime.lanes,
        states_folder=states_folder(config),
        participants=held.participants,
        held_out=_evaluation_sets(config, dataset, clients, held),
        domain_names=dataset.domain_names,
        test_domains=dataset.test.domains,
        trained_domains=_trained_domains(dataset, held.training),
        left_out=dataset.left_out,
    )


def states_folder(config: Config) -> Path | None:
    """Where this rank keeps its clients' states in a file; None: in memory."""
    text = config.runtime.states_folder
    if not text:
        return None
    return expanded(text, "runtime.states_folder")


_PARTS = {
    "norms": 'norms whose scale and shift train, such as model.norm = "batch"',
    "classifier": "a classifier that trains, which is the linear layer that makes the logits",
}
"""what an algorithm treats apart, in words"""


def _clients(
    config: Config, dataset: Dataset, parts: Parts, net: Net, samples_device: torch.device
) -> Clients:
    train = dataset.train
    loss = parse_loss(config.local.loss, LOSSES)
    if "features" in loss.needs and not net.module.has_features:
        raise BadInput(
            f"local.loss: {config.local.loss!r} needs features, the input of a last linear layer; "
            f"got {config.model.name} with a network whose logits come from no linear layer"
        )
    loss.check(net.module)
    apart = config.algorithm.treats_apart
    if apart and not getattr(net.coordinates, apart).any():
        raise BadInput(
            f"algorithm: {type(config.algorithm).__name__} needs a model with {_PARTS[apart]}; "
            f"got {config.model.name} without"
        )
    buffers = "local" if config.algorithm.personal else config.buffers
    return Clients(
        net=net,
        samples=_samples(dataset, train, samples_device),
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
        graphs=config.runtime.graphs,
    )


def _samples(dataset: Dataset, split: Split, device: torch.device) -> Samples:
    return Samples(split.images, split.labels, dataset.mean, dataset.std, device)


def _trained_domains(dataset: Dataset, training: Parts) -> np.ndarray | None:
    """bool [clients, D]: of which domains each client trains on samples; None without domains."""
    domains = dataset.train.domains
    if domains is None:
        return None
    return counts(domains, training, len(dataset.domain_names)) > 0


def _evaluation_sets(
    config: Config, dataset: Dataset, clients: Clients, held: Held
) -> list[EvaluationSet]:
    """What the global model is evaluated on beside the test set: training and held-out samples, and
    the validation set where domains are left out.
    """
    sets = []
    if config.evaluation.train_every:
        training = _chosen(held.training, clients.labels, config)
        sets.append(_set_of_parts(TRAIN, training, clients, dataset))
    if len(held.own.indices):
        sets.append(_set_of_parts(OWN, held.own, clients, dataset))
    if dataset.validation is not None:
        split = dataset.validation
        sets.append(
            evaluation_set(
                SOURCE,
                _samples(dataset, split, clients.net.device),
                clients.classes,
                domains=split.domains,
                domain_count=len(dataset.domain_names),
            )
        )
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


def _set_of_parts(name: str, parts: Parts, clients: Clients, dataset: Dataset) -> EvaluationSet:
    return evaluation_set(
        name,
        clients.samples,
        clients.classes,
        parts.indices,
        np.repeat(np.arange(len(parts)), parts.sizes),
        len(parts),
        dataset.train.domains,
        len(dataset.domain_names),
    )


def _refuse_partition_of_other_data(config: Config, dataset: Dataset) -> None:
    """BadInput where another run's partition is asked for, but that run had other data, or left
    other domains out.
    """
    if not isinstance(config.partition, FromRun):
        return
    source = expanded(config.partition.path, "partition.path")
    run = Run.open(source)
    checksum = dataset.checksum
    theirs = run.provenance.get("data_checksum", checksum)
    if theirs != checksum:
        raise BadInput(
            f"partition.path: expected a run on this data (checksum {checksum[:16]}); got one on "
            f"other data ({str(theirs)[:16]}); name another run, or set data as that run had it"
        )
    if run.left_out != dataset.left_out:
        raise BadInput(
            "partition.path: expected a run with the same domains left out "
            f"({', '.join(dataset.left_out) or 'none'}); got one with "
            f"{', '.join(run.left_out) or 'none'} left out"
        )


def _refuse_clients_without_other_domains(config: Config, stored: np.ndarray | None) -> None:
    """BadInput where clients of the data have samples of left-out domains only."""
    if not config.holdout.domains or stored is None or not isinstance(config.partition, Natural):
        return
    left = len(np.unique(stored))
    if left < config.clients:
        raise BadInput(
            f"holdout.domains: expected domains that are not the only ones of a client; got "
            f"{config.clients - left} of {config.clients} clients without samples of others; "
            f"set clients = {left}"
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
