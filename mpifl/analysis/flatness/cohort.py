"""A round's clients, their models and the samples on which all of these are compared.

D_c are client c's training samples, D those of the whole cohort, p_c = n_c / n its share of them.
Where D has more samples than the protocol measures on, one choice is made from D, and D_c is
client c's part of the choice. So the loss on D is the mean over clients of that on D_c, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpifl.analysis.flatness.names import COHORT
from mpifl.analysis.hessian.protocols import Exact
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.models.stored import ChosenSamples, StoredModel
from mpifl.data.dataset import stratified
from mpifl.options import BadInput
from mpifl.seeds import generator
from mpifl.store import Run


@dataclass(frozen=True, eq=False)
class Cohort:
    """The clients of one round whose models are stored, and its global model."""

    round: int
    w: StoredModel
    """the global model after the round"""
    y: Sequence[StoredModel]
    """the clients' models after their training, each with its own buffers"""
    own: Sequence[ChosenSamples]
    """D_c of each client"""
    all: ChosenSamples
    """D"""
    sizes: np.ndarray
    """[k]: how many training samples each client has, chosen or not"""

    @property
    def clients(self) -> list[int]:
        """Their numbers."""
        return [int(model.client) for model in self.y if model.client is not None]

    @property
    def shares(self) -> np.ndarray:
        """p_c [k], float64: each client's share of the chosen samples."""
        counts = np.array([len(samples.indices) for samples in self.own], "f8")
        return counts / counts.sum()

    @property
    def mean(self) -> StoredModel:
        """The mean of the clients' models, sum p_c y_c; likewise of their buffers."""
        weights = sum(p * model.weights.astype("f8") for p, model in self._weighted())
        buffers = sum(p * model.buffers.astype("f8") for p, model in self._weighted())
        kind = self.w.weights.dtype
        return StoredModel(
            self.round, None, np.asarray(weights, kind), np.asarray(buffers, self.w.buffers.dtype)
        )

    def cells(self) -> list[StoredModel]:
        """The models on the samples on which they are measured: 3 k + 1 of k clients."""
        models = [self.w._replace(on=self.all)]
        for y_c, own in zip(self.y, self.own, strict=True):
            models.append(y_c._replace(on=own))
            models.append(self.w._replace(on=own))
            models.append(y_c._replace(on=self.all))
        return models

    def _weighted(self) -> list[tuple[float, StoredModel]]:
        return list(zip(self.shares.tolist(), self.y, strict=True))


def cohort_of(on_ranks: RunOnRanks, round: int, protocol: Exact) -> Cohort:
    """The cohort of a round. All ranks call it.

    Raises BadInput, on all ranks, where the round has not stored its clients' models, or the
    protocol chooses no sample of a client.
    """
    w, *y = on_ranks.models([round], clients=True)
    own, together, sizes = on_ranks.communicator.agree(
        lambda: choose_samples(on_ranks.run, [int(m.client or 0) for m in y], protocol)
    )
    return Cohort(round, w, y, own, together, sizes)


def choose_samples(
    run: Run, clients: Sequence[int], protocol: Exact
) -> tuple[list[ChosenSamples], ChosenSamples, np.ndarray]:
    """D_c of each client, D, and the numbers [k] of samples that the clients have."""
    parts = [run.part(client) for client in clients]
    sizes = np.array([len(part) for part in parts], "i8")
    pool = np.concatenate(parts)
    owners = np.repeat(np.arange(len(clients)), sizes)
    if protocol.samples and protocol.samples < len(pool):
        random = generator(protocol.seed, "curvature samples of a cohort")
        chosen = stratified(owners, protocol.samples, random)
        pool = pool[chosen]
        owners = owners[chosen]
    own = []
    for number, client in enumerate(clients):
        indices = np.sort(pool[owners == number])
        if not len(indices):
            raise BadInput(
                f"--samples: expected enough for some of each client's; got {protocol.samples} of "
                f"{sizes.sum():,}, of which none is of client {client}'s {sizes[number]}"
            )
        own.append(ChosenSamples(f"client_{client:06d}", f"client {client}'s data", indices))
    return own, ChosenSamples(COHORT, "all clients' data", np.sort(pool)), sizes
