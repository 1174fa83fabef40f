"""Config -> objects: data, clients and model, placed on this rank."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mpifl import seeds
from mpifl.data import packed
from mpifl.data.batches import Samples
from mpifl.data.dataset import Dataset, Split, limited
from mpifl.data.partition import FromRun, Parts
from mpifl.data.sources import SOURCES
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse as parse_loss
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.parallel.devices import device_for, settle, threads_of
from mpifl.runner.schema import Config, Data
from mpifl.store import Run
from mpifl.training.batchnorm import BufferPolicy
from mpifl.training.client import Clients
from mpifl.training.experiment import Experiment
from mpifl.training.state_storage import refuse_unusable

if TYPE_CHECKING:  # a plan is made also where there is no MPI library
    from mpifl.parallel.communicator import Communicator


def load_data(data: Data, seed: int) -> Dataset:
    """The data set that a config names, limited as it says; raises BadInput."""
    if data.path:
        dataset = packed.read(Path(data.path))
    else:
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in data.options.items()}
        dataset = SOURCES[data.name].load(**given)
    dataset = limited(dataset, data.train_limit or None, data.test_limit or None, seed)
    if data.normalise:
        return dataset
    return replace(dataset, mean=(0.0,) * len(dataset.mean), std=(1.0,) * len(dataset.std))


def shared_data(data: Data, seed: int, communicator: Communicator) -> Dataset:
    """The data set with one copy a node; raises BadInput on all ranks if any node lacks it."""
    reads = communicator.node.rank == 0
    dataset = communicator.agree(lambda: load_data(data, seed) if reads else None)
    described = communicator.node.bcast(dataset and _without_arrays(dataset))
    arrays = communicator.share(dataset and _arrays(dataset))
    splits = {name: _split(arrays, name) for name in ("train", "test")}
    return Dataset(**splits, **described)


def _without_arrays(dataset: Dataset) -> dict[str, Any]:
    return {name: value for name, value in vars(dataset).items() if not isinstance(value, Split)}


def _arrays(dataset: Dataset) -> dict[str, np.ndarray]:
    splits = {"train": dataset.train, "test": dataset.test}
    return {
        f"{s}.{n}": a
        for s, split in splits.items()
        for n, a in vars(split).items()
        if a is not None
    }


def _split(arrays: dict[str, np.ndarray], name: str) -> Split:
    return Split(arrays[f"{name}.images"], arrays[f"{name}.labels"], arrays.get(f"{name}.domains"))


def partition(config: Config, labels: np.ndarray, domains: np.ndarray | None) -> Parts:
    """Each client's training samples: a function of the config and the labels only."""
    return config.partition.split(
        labels, domains, config.clients, seeds.generator(config.seed, "partition")
    )


def _refuse_other_data(config: Config, checksum: str) -> None:
    """BadInput where another run's partition is asked for, but that run had other data."""
    if isinstance(config.partition, FromRun):
        theirs = Run.open(config.partition.path).provenance.get("data_checksum", checksum)
        if theirs != checksum:
            raise BadInput(
                f"partition.path: expected a run on this data (checksum {checksum[:16]}); got one on other data "
                f"({str(theirs)[:16]}); name another run, or set data as that run had it"
            )


def network(config: Config, shape: tuple[int, int, int], classes: int, device: torch.device) -> Net:
    """The model with its initial weights, which depend on the seed only."""
    if config.model.classes not in (0, classes):
        raise BadInput(
            f"model.classes: expected {classes}, as many as the data has; got {config.model.classes}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.integer(config.seed, "initial weights"))
        try:
            module = config.model.build(shape, classes)
        except (RuntimeError, MemoryError) as error:
            if "memory" not in str(error) and "overflow" not in str(error):
                raise
            raise BadInput(f"model: expected one that fits into memory; got {error}") from None
    wanted = config.runtime.channels_last
    return Net(module, device, config.model.channels_last if wanted == "auto" else wanted == "yes")


def place(config: Config, communicator: Communicator) -> torch.device:
    """This rank's device, made this process's own, with its threads; BadInput where only some
    workers have a GPU.
    """
    worker, workers = communicator.worker_on_node()
    device = communicator.agree(lambda: device_for(config.runtime.device, worker, workers))
    kinds = communicator.allgather(
        (socket.gethostname(), device.type if worker is not None else "")
    )
    communicator.agree(lambda: _refuse_mixture(kinds))
    settle(device, threads_of(config.runtime.threads))
    communicator.agree(lambda: worker is None or _refuse_unusable_folder(config))
    return device


def _states_folder(config: Config) -> Path | None:
    text = config.runtime.states_folder
    return Path(os.path.expandvars(text)).expanduser() if text else None


def _refuse_unusable_folder(config: Config) -> None:
    if folder := _states_folder(config):
        refuse_unusable(folder)


def _refuse_mixture(kinds: list[tuple[str, str]]) -> None:
    """BadInput where some workers, given as (host, type of device), have a GPU and others none."""
    without = [host for host, kind in kinds if kind == "cpu"]
    if without and any(kind == "cuda" for _, kind in kinds):
        raise BadInput(
            f"runtime.device: expected a GPU for every worker, or for none; got none on {without[0]} and some "
            "elsewhere, and their bits would differ; allowed: a job with GPUs on every node, or runtime.device=cpu"
        )


def experiment(
    config: Config, dataset: Dataset, device: torch.device, trains: bool = True
) -> Experiment:
    """All that `rounds.run` needs; raises BadInput where config and data do not fit.

    A rank that never `trains`, a server with workers, leaves the training samples in host memory.
    """
    _refuse_other_data(config, dataset.checksum)
    parts = partition(config, dataset.train.labels, dataset.train.domains)
    net = network(config, dataset.shape, len(dataset.classes), device)
    loss = parse_loss(config.local.loss, LOSSES)
    loss.check(net.module)
    normal = (dataset.mean, dataset.std)
    if len(empty := np.flatnonzero(parts.sizes == 0)):
        raise BadInput(
            f"partition: expected samples for each of {config.clients} clients; got none for {len(empty)} of them "
            f"(client {empty[0]} first); fewer clients, more samples (data.train_limit), or a less uneven partition"
        )
    clients = Clients(
        net=net,
        samples=Samples(
            dataset.train.images,
            dataset.train.labels,
            *normal,
            device if trains else torch.device("cpu"),
        ),
        parts=parts,
        labels=dataset.train.labels,
        classes=len(dataset.classes),
        algorithm=config.algorithm,
        local=config.local,
        loss=loss,
        augmentation=config.data.augment,
        buffers=BufferPolicy(config.buffers, net.layout),
        seed=config.seed,
        rounds=config.rounds,
        means=config.evaluation.models,
    )
    return Experiment(
        clients=clients,
        test=Samples(dataset.test.images, dataset.test.labels, *normal, device),
        participation=config.participation,
        evaluation=config.evaluation,
        rounds=config.rounds,
        seed=config.seed,
        objective=config.objective,
        divergence=config.divergence,
        clients_rounds=config.results.clients_rounds(config.rounds),
        states_folder=_states_folder(config),
    )
