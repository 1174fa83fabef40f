"""Activations and features of a model: how large they are, and in how many directions they spread.

The size of a layer's activations is what MAN penalises (Yashwanth et al. 2024). Few large singular
values of the features' covariance are a feature collapse: features lie in few directions (Shi et
al. 2023, FedDecorr).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpifl import seeds
from mpifl.analysis.hessian.metrics import GLOBAL
from mpifl.analysis.models.reload import ReloadedRun
from mpifl.analysis.models.stored import has_clients
from mpifl.data.batches import Samples
from mpifl.data.dataset import Split
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.store import Run

DIMENSIONS = {
    "round": ("model",),
    "client": ("model",),
    "site": ("site",),
    "activation": ("model", "site"),
    "feature_norm": ("model",),
    "feature_norm_std": ("model",),
    "spectrum": ("model", "value"),
    "effective_rank": ("model",),
    "accuracy": ("model",),
}
"""the axes of each array of `features`"""

Images = Callable[[int], Split]
"""given a client, or GLOBAL: the images on which its model is analysed"""


def features(
    reloaded: ReloadedRun,
    rounds: Sequence[int] = (),
    clients: Sequence[int] | None = (),
    images: Images | None = None,
    batch: int = 200,
    on_model: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:
    """Activations and features of the models stored at `rounds` (default: all).

    They are computed on the test set, or on `images`.

    At each round the global model comes first (client GLOBAL), then those of `clients`; None stands
    for all stored ones. DIMENSIONS names the axes of the arrays:

    - `activation`: ||a||^2 / m, the mean square of a layer's m outputs, mean over images;
    - `feature_norm`, `feature_norm_std`: mean and deviation of ||f|| over images;
    - `spectrum`: the singular values of the features' covariance, falling;
    - `effective_rank`: that of the spectrum; `accuracy`: a fraction.

    `on_model` is called after each model. Raises BadInput where a model is not stored.
    """
    found: list[dict[str, Any]] = []
    sites: list[str] = []
    rounds = list(rounds) or reloaded.run.saved_rounds
    for round, client, weights, buffers in _models(reloaded, rounds, clients):
        net = reloaded.load(weights, buffers)
        split = images(client) if images else reloaded.dataset.test
        sites, figures = _figures(net, reloaded.forward, reloaded.samples(split), batch)
        found.append({"round": round, "client": client, **figures})
        on_model()
    if not found:
        expected = "a run with saved weights"
        raise BadInput(
            f"{reloaded.run.path}: expected {expected}; got none saved (results.weights_every)"
        )
    arrays = {"site": np.array(sites)}
    for name in found[0]:
        arrays[name] = np.stack([one[name] for one in found])
    return arrays


def count_models(run: Run, rounds: Sequence[int], clients: Sequence[int] | None) -> int:
    """How many models `features` analyses."""
    if clients is not None:
        return len(rounds) * (1 + len(clients))
    count = len(rounds)
    for round in rounds:
        if has_clients(run, round):
            row = np.flatnonzero(run.rounds["round"] == round)
            count += int(run.clients["participated"][row].sum())
    return count


def subset(split: Split, n: int, seed: int = 0) -> Split:
    """At most `n` samples, drawn with `seed`, in the order of the split: the same for every run."""
    if n >= len(split):
        return split
    chosen = seeds.generator(seed, "features").choice(len(split), n, replace=False)
    return split.take(np.sort(chosen))


def spectrum(features: np.ndarray) -> np.ndarray:
    """The singular values [q] of the covariance (over n) of features [n, q], falling."""
    centred = features.astype("f8") - features.mean(0, dtype="f8")
    values = np.zeros(features.shape[1])
    singular = np.linalg.svd(centred, compute_uv=False) ** 2 / len(features)
    values[: len(singular)] = singular
    return values


def effective_rank(spectrum: np.ndarray) -> float:
    """In how many directions features spread; 0 without any spread.

    It is exp of the entropy of the values' shares (Roy & Vetterli 2007).

    >>> round(effective_rank(np.array([1.0, 1.0, 1.0, 0.0])), 6)
    3.0
    """
    if spectrum.sum() == 0:
        return 0.0
    shares = spectrum[spectrum > 0] / spectrum.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _models(
    reloaded: ReloadedRun, rounds: Sequence[int], clients: Sequence[int] | None
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Round, client, weights and buffers of each model."""
    run = reloaded.run
    for round in rounds:
        yield round, GLOBAL, *reloaded.weights(round)
        if clients is None and not has_clients(run, round):
            continue
        if clients is None or clients:
            yield from _client_models(run, round, clients)


def _client_models(
    run: Run, round: int, clients: Sequence[int] | None
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    ids, weights, buffers = run.client_weights(round)
    places = {int(client): place for place, client in enumerate(ids)}
    for client in places if clients is None else clients:
        if client not in places:
            known = ", ".join(map(str, ids))
            expected = f"clients stored at round {round} ({known})"
            raise BadInput(f"{run.path}: expected {expected}; got {client}")
        yield round, client, weights[places[client]], buffers[places[client]]


def _figures(
    net: Net, forward: dict[str, Any], samples: Samples, batch: int
) -> tuple[list[str], dict[str, Any]]:
    """The sites' names, and the figures of the network's present weights."""
    squares: np.ndarray | float = 0.0
    collected = []
    correct = 0
    sites: list[str] = []
    for x, y in _batches(samples, batch):
        output = _with_hidden_layers(net, x, forward)
        squares = squares + np.array([_square(a) for a in output.activations])
        shapes = ["x".join(map(str, a.shape[1:])) for a in output.activations]
        sites = [f"{number} ({shape})" for number, shape in enumerate(shapes, 1)]
        collected.append(output.features.cpu().numpy())
        correct += int((output.logits.argmax(-1) == y).sum())
    features = np.concatenate(collected)
    values = spectrum(features)
    norms = np.linalg.norm(features.astype("f8"), axis=1)
    return sites, {
        "activation": squares / len(samples),
        "feature_norm": norms.mean(),
        "feature_norm_std": norms.std(),
        "spectrum": values,
        "effective_rank": effective_rank(values),
        "accuracy": correct / len(samples),
    }


def _batches(samples: Samples, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(samples), batch):
        end = min(start + batch, len(samples))
        indices = torch.arange(start, end, device=samples.labels.device)
        yield samples.pick(indices), samples.labels[indices]


def _with_hidden_layers(net: Net, x: Tensor, forward: dict[str, Any]) -> Any:
    """A forward pass with the activations that losses see.

    Models report them only where gradients are on; here no graph is wanted.
    """
    trained = [p for p in net.module.parameters() if p.requires_grad]
    net.module.requires_grad_(False)
    try:
        with torch.enable_grad():
            return net(x, **forward)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _square(a: Tensor) -> float:
    """The sum over the batch of the mean square of an image's elements."""
    return float(a.double().square().flatten(1).mean(1).sum())
