"""A stored run's network and data built again: the same images, the same forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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
from mpifl.runner.factories import allow_remembered
from mpifl.runner.plugins import load_stored
from mpifl.store import Run


@dataclass(frozen=True, eq=False)
class ReloadedRun:
    """A run with its config, data and network, which has the initial weights until `load`."""

    run: Run
    config: schema.Config
    dataset: Dataset
    net: Net
    forward: dict[str, Any]
    """keyword arguments of the forward pass in evaluation"""

    def initial(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights [d] and buffers [b] of round 0: stored, or made again from the seed."""
        if 0 in self.run.saved_rounds:
            return self.run.weights(0)
        classes = len(self.dataset.classes)
        net = build.network(self.config, self.dataset.shape, classes, torch.device("cpu"))
        return net.weights.numpy(), net.buffers.numpy()

    def weights(self, round: int) -> tuple[np.ndarray, np.ndarray]:
        """The global weights [d] and buffers [b] after `round`; 0 is before training.

        Raises BadInput where the round is not stored.
        """
        return self.run.weights(round) if round else self.initial()

    def load(self, weights: np.ndarray, buffers: np.ndarray) -> Net:
        """The network with these weights [d] and buffers [b], in evaluation mode."""
        self.net.load(torch.from_numpy(weights), torch.from_numpy(buffers))
        self.net.module.eval()
        return self.net

    def samples(self, split: Split, dtype: torch.dtype = torch.float32) -> Samples:
        """A split's images on the network's device, normalised as in the run, never augmented."""
        mean, std = self.dataset.mean, self.dataset.std
        return Samples(split.images, split.labels, mean, std, self.net.device, dtype)

    def own(self, client: int) -> Split:
        """The training samples of one client."""
        return self.dataset.train.take(self.run.part(client))


def reload_run(
    run: Run,
    data_path: str = "",
    device: str | torch.device = "cpu",
    plugins: Sequence[Path | str] = (),
) -> ReloadedRun:
    """Load `run`'s data and build its network. `data_path`: where its packed data is now.

    `plugins` are files of plugins that the run was trained with. They are needed where the user has
    not trained with these plugins: nothing that stands in a run folder is run (see
    runner/plugins.py).

    Raises BadInput where a plugin is missing, where this version cannot read the config or builds
    another network, and where the data are not those of the run.
    """
    raw = load_stored(run, config.of_run(run.config, str(run.path)), plugins)
    allow_remembered(raw)
    if data_path:
        raw = config.merge(raw, {"data": {"path": data_path}})
    resolved = schema.resolve(raw)
    dataset = build.load_data(resolved.data, resolved.seed, resolved.holdout.domains)
    _check_data(run, dataset)
    classes = len(dataset.classes)
    net = build.network(resolved, dataset.shape, classes, torch.device(device))
    _check_network(run, net, resolved.model.name)
    net.frozen.copy_(torch.from_numpy(run.frozen()))
    forward = parse(resolved.local.loss, LOSSES).evaluated(net.module)
    return ReloadedRun(run, resolved, dataset, net, forward)


def _check_data(run: Run, dataset: Dataset) -> None:
    theirs = str(run.provenance.get("data_checksum", dataset.checksum))
    if theirs != dataset.checksum:
        expected = f"the data that it was trained on (checksum {theirs[:16]})"
        got = f"{dataset.source} (checksum {dataset.checksum[:16]})"
        raise BadInput(f"{run.path}: expected {expected}; got {got}")


def _check_network(run: Run, net: Net, model: str) -> None:
    ours = [tuple(entry) for entry in net.layout]
    if ours != [tuple(entry) for entry in run.layout]:
        expected = "a model with the tensors that it stored"
        got = f"{model} as this version of mpifl builds it, whose tensors are others"
        raise BadInput(f"{run.path}: expected {expected}; got {got}")
