"""What a model makes of images: how large its activations are, and in how many directions its
features spread.

The size of a layer's activations is what MAN penalises (Yashwanth et al. 2024). The singular values
of the features' covariance tell a collapse: few large ones mean features in few directions (Shi et
al. 2023, FedDecorr).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mpifl import seeds
from mpifl.analysis.hessian.metrics import GLOBAL
from mpifl.analysis.models.reload import Revisited
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
"""the images on which the model of a client (or GLOBAL) is looked at"""


def features(
    of: Revisited,
    rounds: Sequence[int] = (),
    clients: Sequence[int] | None = (),
    images: Images | None = None,
    batch: int = 200,
    watch: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:
    """Activations and features of models at `rounds` (all stored) on the test set, or `images`, by
    model.

    At each round the global model comes first (client GLOBAL), then those of `clients`: none, or
    with None all stored. `activation` is ||a||^2 / m, the mean square of a site's m elements, mean
    over images; `feature_norm` the mean of ||f|| over images, beside its deviation; `spectrum` the
    singular values of the features' covariance, falling; `effective_rank` that of the spectrum;
    DIMENSIONS has the axes. `watch` is called after each model. Raises BadInput.
    """
    found, names = [], []
    for round, client, weights, buffers in _models(
        of, list(rounds) or of.run.saved_rounds, clients
    ):
        net = of.load(weights, buffers)
        samples = of.samples(images(client) if images else of.dataset.test)
        names, figures = _figures(net, of.forward, samples, batch)
        found.append({"round": round, "client": client, **figures})
        watch()
    if not found:
        raise BadInput(
            f"{of.run.path}: expected a run with saved weights; got none saved (results.weights_every)"
        )
    return {
        "site": np.array(names),
        **{name: np.stack([one[name] for one in found]) for name in found[0]},
    }


def models(run: Run, rounds: Sequence[int], clients: Sequence[int] | None) -> int:
    """How many models `features` looks at."""
    cohorts = [round for round in rounds if "clients" in run.saved_arrays.get(round, ())]
    if clients is None:
        rows = [np.flatnonzero(run.rounds["round"] == round) for round in cohorts]
        return len(rounds) + sum(int(run.clients["participated"][row].sum()) for row in rows)
    return len(rounds) * (1 + len(clients))


def subset(split: Split, n: int, seed: int = 0) -> Split:
    """At most `n` samples, drawn with `seed`, in the order of the split: the same for every run."""
    if n >= len(split):
        return split
    return split.take(
        np.sort(seeds.generator(seed, "features").choice(len(split), n, replace=False))
    )


def spectrum(features: np.ndarray) -> np.ndarray:
    """The singular values [q] of the covariance (over n) of features [n, q], falling."""
    centred = features.astype("f8") - features.mean(0, dtype="f8")
    values = np.zeros(features.shape[1])
    singular = np.linalg.svd(centred, compute_uv=False) ** 2 / len(features)
    values[: len(singular)] = singular
    return values


def effective_rank(spectrum: np.ndarray) -> float:
    """exp of the entropy of the values' shares (Roy & Vetterli 2007): how many directions count; 0
    without any spread.

    >>> round(effective_rank(np.array([1.0, 1.0, 1.0, 0.0])), 6)
    3.0
    """
    if spectrum.sum() == 0:
        return 0.0
    shares = spectrum[spectrum > 0] / spectrum.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _models(
    of: Revisited, rounds: Sequence[int], clients: Sequence[int] | None
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Round, client, weights and buffers of each model asked for."""
    for round in rounds:
        yield round, GLOBAL, *of.weights(round)
        if clients or (clients is None and "clients" in of.run.saved_arrays[round]):
            ids, weights, buffers = of.run.client_weights(round)
            for client in ids.tolist() if clients is None else clients:
                if client not in ids:
                    known = ", ".join(map(str, ids))
                    raise BadInput(
                        f"{of.run.path}: expected clients stored at round {round} ({known}); got {client}"
                    )
                place = ids.tolist().index(client)
                yield round, client, weights[place], buffers[place]


def _figures(
    net: Net, forward: dict, samples: Samples, batch: int
) -> tuple[list[str], dict[str, np.ndarray]]:
    """The sites' names and the figures of the net's present model."""
    squares, collected, right, names = 0.0, [], 0, []
    for x, y in _batches(samples, batch):
        out = _looked_at(net, x, forward)
        squares = squares + np.array([_square(a) for a in out.activations])
        names = [
            f"{i} ({'x'.join(map(str, a.shape[1:]))})" for i, a in enumerate(out.activations, 1)
        ]
        collected.append(out.features.cpu().numpy())
        right += int((out.logits.argmax(-1) == y).sum())
    features = np.concatenate(collected)
    values, norms = spectrum(features), np.linalg.norm(features.astype("f8"), axis=1)
    return names, {
        "activation": squares / len(samples),
        "feature_norm": norms.mean(),
        "feature_norm_std": norms.std(),
        "spectrum": values,
        "effective_rank": effective_rank(values),
        "accuracy": right / len(samples),
    }


def _batches(samples: Samples, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(samples), batch):
        indices = torch.arange(
            start, min(start + batch, len(samples)), device=samples.labels.device
        )
        yield samples.pick(indices), samples.labels[indices]


def _looked_at(net: Net, x: Tensor, forward: dict):
    """A forward pass with all that a loss may see: models report it with gradients on, and no graph
    is wanted.
    """
    net.module.requires_grad_(False)
    try:
        with torch.enable_grad():
            return net(x, **forward)
    finally:
        net.module.requires_grad_(True)


def _square(a: Tensor) -> float:
    """Sum over the batch of the mean square of an image's elements."""
    return float(a.double().square().flatten(1).mean(1).sum())
