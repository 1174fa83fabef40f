"""A stored run on all ranks of a job, which share out the samples of its measurements."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mpifl.analysis.models.reload import ReloadedRun, reload_run
from mpifl.analysis.models.stored import StoredModel, has_average, has_clients
from mpifl.curvature import Objective
from mpifl.curvature.objective import Data
from mpifl.data.batches import Samples
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.parallel.communicator import Communicator
from mpifl.parallel.devices import configure, device_for, threads_of
from mpifl.store import Run

Precision = Literal["float32", "float64"]


class RunOnRanks:
    """A run reloaded by every rank of `communicator`; one process alone is a rank too.

    `data_path`: where its packed data is now, if it has moved; `plugins`: files of its plugins, of
    those that the user has not trained with. `net` is this rank's network, in the given precision.
    Raises BadInput, on all ranks, for a run that is still being written (unless `unfinished`),
    where a plugin is missing, and where the data are not those of the run.
    """

    def __init__(
        self,
        run: Run,
        communicator: Communicator,
        *,
        data_path: str = "",
        plugins: Sequence[Path | str] = (),
        unfinished: bool = False,
        precision: Precision = "float32",
    ) -> None:
        self.run = run
        self.communicator = communicator
        self.precision = precision
        communicator.agree(lambda: _refuse_unfinished(run, unfinished))
        device = _device(communicator)
        self.reloaded: ReloadedRun = communicator.agree(
            lambda: reload_run(run, data_path, device, plugins)
        )
        module = copy.deepcopy(self.reloaded.net.module)
        if precision == "float64":
            module = module.double()
        # Not channels-last: there, products with a Hessian take up to 1.17 times longer (ResNet,
        # on a CPU).
        self.net = Net(module, device)
        self.samples = cache(self._samples)

    def renewed(self, run: Run) -> RunOnRanks:
        """The same run as it is now: more rounds may be stored. Data and network are kept."""
        renewed = copy.copy(self)
        renewed.run = run
        renewed.reloaded = dataclasses.replace(self.reloaded, run=run)
        return renewed

    def models(
        self, rounds: Sequence[int], clients: bool = False, average: bool = False
    ) -> list[StoredModel]:
        """The global models of `rounds`.

        With `average` also the averages of the server's models, with the server's buffers, and with
        `clients` also the clients' models, where a round stores them. Raises BadInput where a
        global model is not stored, or no round has what is asked for.
        """
        return self.communicator.agree(lambda: list(self._models(rounds, clients, average)))

    def objective(self, model: StoredModel, data: Data) -> Objective:
        """The mean cross-entropy over all ranks' `data`, with the model's buffers."""
        buffers = self.vector(model.buffers)
        return Objective(self.net, data, buffers, self.sum_over_ranks, self.reloaded.forward)

    def vector(self, values: np.ndarray) -> Tensor:
        """Stored values as a tensor of the network's precision, on its device."""
        return torch.from_numpy(values).to(self.net.weights)

    def sum_over_ranks(self, vector: Tensor) -> Tensor:
        """The sum of all ranks' vectors, on all of them."""
        if self.communicator.size == 1:
            return vector
        summed = self.communicator.everywhere(vector.cpu().numpy())
        return torch.from_numpy(summed).to(vector.device)

    def _samples(self, split: str) -> Samples:
        """The samples of "train" or "test", as the network sees them."""
        dataset = self.reloaded.dataset
        return self.reloaded.samples(getattr(dataset, split), self.net.weights.dtype)

    def _models(self, rounds: Sequence[int], clients: bool, average: bool) -> Iterator[StoredModel]:
        if average and not any(has_average(self.run, round) for round in rounds):
            self.run.average(rounds[0])  # raises, and says what is missing
        if clients and not any(has_clients(self.run, round) for round in rounds):
            self.run.client_weights(rounds[0])  # raises, and says what is missing
        for round in rounds:
            weights, buffers = self.reloaded.weights(round)
            yield StoredModel(round, None, weights, buffers)
            if average and has_average(self.run, round):
                yield StoredModel(round, None, self.run.average(round), buffers, average=True)
            if clients and has_clients(self.run, round):
                stored = self.run.client_weights(round)
                for client, weights, buffers in zip(*stored, strict=True):
                    yield StoredModel(round, int(client), weights, buffers)


def _refuse_unfinished(run: Run, unfinished: bool) -> None:
    if run.status == "running" and not unfinished:
        raise BadInput(
            f"{run.path}: expected a run that has ended; got one still being written, or killed; "
            "allowed: wait for it, resume it, or --unfinished to look at what it has stored"
        )


def _device(communicator: Communicator) -> torch.device:
    """This rank's device. All ranks compute, each with the cores that Slurm grants, or one."""
    worker, workers = communicator.worker_on_node()
    device = communicator.agree(lambda: device_for("auto", worker, workers))
    configure(device, threads_of(0))
    return device
