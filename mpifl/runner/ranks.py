"""What the ranks of a run do together before the first round: share the data, choose devices."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import torch
from torch.torch_version import TorchVersion

from mpifl.data.dataset import Dataset, Split
from mpifl.options import BadInput
from mpifl.parallel.communicator import Communicator
from mpifl.parallel.devices import configure, device_for, threads_of
from mpifl.runner.build import load_data, states_folder
from mpifl.runner.schema import Config
from mpifl.training.state_storage import refuse_unusable

_SPLITS = ("train", "test", "validation")


def shared_data(config: Config, communicator: Communicator) -> Dataset:
    """The data set, with one copy a node; raises BadInput on all ranks if any node lacks it."""
    reads = communicator.node.rank == 0
    dataset = communicator.agree(lambda: _loaded(config) if reads else None)
    arrays = None
    description = None
    if dataset is not None:
        arrays = _arrays(dataset)
        description = _description(dataset)
    description = communicator.node.bcast(description)
    arrays = communicator.share(arrays)
    validation = None
    if "validation.images" in arrays:
        validation = _split(arrays, "validation")
    return Dataset(
        train=_split(arrays, "train"),
        test=_split(arrays, "test"),
        validation=validation,
        **description,
    )


def _loaded(config: Config) -> Dataset:
    return load_data(config.data, config.seed, config.holdout.domains)


def choose_device(config: Config, communicator: Communicator) -> torch.device:
    """This rank's device, made this process's own, with its threads.

    Raises BadInput on all ranks where only some workers have a GPU, or where a worker's folder for
    clients' states is unusable.
    """
    worker, workers = communicator.worker_on_node()
    device = communicator.agree(lambda: device_for(config.runtime.device, worker, workers))
    kind = "" if worker is None else device.type
    kinds = communicator.allgather((socket.gethostname(), kind))
    communicator.agree(lambda: _refuse_mixture(kinds))
    communicator.agree(lambda: _refuse_tf32_without_gpu(config, kind))
    communicator.agree(lambda: _refuse_lanes_of_old_torch(config, kind))
    configure(device, threads_of(config.runtime.threads), tf32=config.precision == "tf32")
    communicator.agree(lambda: _refuse_unusable_folder(config, plays=worker is not None))
    return device


def _refuse_lanes_of_old_torch(config: Config, kind: str) -> None:
    """Graphs of several threads would fail: before version 2.8 (its pull request 143777), torch
    lets no thread replay one while another captures.
    """
    runtime = config.runtime
    if kind != "cuda" or runtime.lanes == 1 or runtime.graphs == "no":
        return
    if torch.__version__ < TorchVersion("2.8"):
        raise BadInput(
            f"runtime.lanes: expected 1, where torch is older than 2.8 and steps are CUDA graphs; "
            f"got {runtime.lanes} with torch {torch.__version__}; allowed: 1, or "
            'runtime.graphs = "no", or a newer torch'
        )


def _refuse_tf32_without_gpu(config: Config, kind: str) -> None:
    if config.precision == "tf32" and kind == "cpu":
        raise BadInput(
            "precision: expected a GPU for tf32; got none; allowed on CPUs: float32, bf16"
        )


def _description(dataset: Dataset) -> dict[str, Any]:
    """The data set without its arrays."""
    return {name: value for name, value in vars(dataset).items() if name not in _SPLITS}


def _arrays(dataset: Dataset) -> dict[str, np.ndarray]:
    """The arrays of all splits, by names such as `train.images`."""
    arrays = {}
    for split in _SPLITS:
        content = getattr(dataset, split)
        if content is None:
            continue
        for name, array in vars(content).items():
            if array is not None:
                arrays[f"{split}.{name}"] = array
    return arrays


def _split(arrays: dict[str, np.ndarray], split: str) -> Split:
    return Split(
        arrays[f"{split}.images"],
        arrays[f"{split}.labels"],
        arrays.get(f"{split}.domains"),
        arrays.get(f"{split}.clients"),
    )


def _refuse_unusable_folder(config: Config, plays: bool) -> None:
    folder = states_folder(config)
    if plays and folder is not None:
        refuse_unusable(folder)


def _refuse_mixture(kinds: list[tuple[str, str]]) -> None:
    """BadInput where some workers, given as (host, type of device), have a GPU and others none."""
    without = [host for host, kind in kinds if kind == "cpu"]
    if without and any(kind == "cuda" for _, kind in kinds):
        raise BadInput(
            "runtime.device: expected a GPU for every worker, or for none; got none on "
            f"{without[0]} and some elsewhere, and their bits would differ; allowed: a job with "
            "GPUs on every node, or runtime.device=cpu"
        )
