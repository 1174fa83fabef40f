"""A stored run's network and data made again, to look at its models: the same images, the same
forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mpifl import config
from mpifl.data.batches import Samples
from mpifl.data.dataset import Dataset, Split
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.runner import build, schema
from mpifl.store import Run


@dataclass(frozen=True, eq=False)
class Revisited:
    """A run with what its numbers came from. Its net holds the initial weights until `load`."""

    run: Run
    config: schema.Config
    dataset: Dataset
    net: Net
    forward: dict[str, Any]
    """options of the forward pass in evaluation"""

    def initial(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights [d] and buffers [b] of round 0, which follow from the seed."""
        made = build.network(
            self.config, self.dataset.shape, len(self.dataset.classes), torch.device("cpu")
        )
        return made.weights.numpy(), made.buffers.numpy()

    def weights(self, round: int) -> tuple[np.ndarray, np.ndarray]:
        """The global weights [d] and buffers [b] after `round`; after 0 the initial ones. Raises
        BadInput.
        """
        return self.run.weights(round) if round else self.initial()

    def load(self, weights: np.ndarray, buffers: np.ndarray) -> Net:
        """The net with these weights and buffers, in evaluation mode."""
        self.net.load(torch.from_numpy(weights), torch.from_numpy(buffers))
        self.net.module.eval()
        return self.net

    def samples(self, split: Split, dtype: torch.dtype = torch.float32) -> Samples:
        """The images of a split on the net's device, normalised as the run's were; never augmented."""
        return Samples(
            split.images, split.labels, self.dataset.mean, self.dataset.std, self.net.device, dtype
        )

    def own(self, client: int) -> Split:
        """The training samples of one client."""
        return self.dataset.train.take(self.run.part(client))


def revisit(run: Run, path: str = "", device: str | torch.device = "cpu") -> Revisited:
    """`run` with its data and its net. `path`: where its packed data is now, if it has moved.

    Raises BadInput where the config is none of this version's, and where the data are not those of
    the run.
    """
    raw = config.parse(run.config, str(run.path))
    known = schema.resolve(config.merge(raw, {"data": {"path": path}}) if path else raw)
    dataset = build.load_data(known.data, known.seed)
    theirs = str(run.provenance.get("data_checksum", dataset.checksum))
    if theirs != dataset.checksum:
        got = f"{dataset.source} (checksum {dataset.checksum[:16]})"
        raise BadInput(
            f"{run.path}: expected the data that it was trained on (checksum {theirs[:16]}); got {got}"
        )
    net = build.network(known, dataset.shape, len(dataset.classes), torch.device(device))
    if [tuple(entry) for entry in net.layout] != [tuple(entry) for entry in run.layout]:
        got = f"{known.model.name} as this version of mpifl builds it, whose tensors are others"
        raise BadInput(f"{run.path}: expected a model with the tensors that it stored; got {got}")
    forward = parse(known.local.loss, LOSSES).evaluated(net.module)
    return Revisited(run, known, dataset, net, forward)
