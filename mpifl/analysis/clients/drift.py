"""How far clients move from the model they were sent, layer by layer, and whether they move the
same way.

With u_c = y_c - w the update of client c, all follows from the inner products <u_c, u_j> of each
layer: the drift ||u_c||, the cosine of two updates, and the distance ||y_c - sum_j p_j y_j|| from
the clients' weighted mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpifl.curvature.layers import layers
from mpifl.options import BadInput
from mpifl.store import Entry, Run

DIMENSIONS = {
    "round": ("round",),
    "layer": ("layer",),
    "client": ("round", "place"),
    "drift": ("round", "place", "layer"),
    "spread": ("round", "place", "layer"),
    "scale": ("round", "layer"),
    "cosine": ("round", "place", "other", "layer"),
    "drift_whole": ("round", "place"),
    "spread_whole": ("round", "place"),
    "cosine_whole": ("round", "place", "other"),
}
"""the axes of each array of `drift`; `place` is a client's place in its round's cohort"""


def slices(layout: Sequence[Entry]) -> dict[str, slice]:
    """Where the weights and biases of each layer lie in the flat vector, in its order."""
    entries = {entry.name: entry for entry in layout if entry.kind == "parameter"}
    members = {
        layer: [entries[name] for name in names] for layer, names in layers(list(layout)).items()
    }
    return {
        layer: slice(of[0].offset, of[-1].offset + of[-1].size) for layer, of in members.items()
    }


def drift(
    run: Run, rounds: Sequence[int] = (), initial: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Drift, spread and cosines of the stored clients' models at `rounds` (all that have clients),
    as DIMENSIONS.

    `drift` ||y_c - w||, `spread` ||y_c - mean||, `scale` ||w||, cosines of updates; `_whole`: of
    all layers at once. `initial` [d] are the weights of round 0, for round 1 (`ReloadedRun.initial`).
    Cohorts smaller than the largest are filled up with NaN, and client -1. Raises BadInput where a
    round lacks clients or the weights that they were sent.
    """
    rounds = list(rounds) or with_clients(run, initial is not None)
    found = [_at(run, round, initial) for round in rounds]
    places = max(len(one["client"]) for one in found)
    stacked = {
        name: np.stack([_padded(one[name], name, places) for one in found]) for name in found[0]
    }
    return {"round": np.array(rounds), "layer": np.array(list(slices(run.layout))), **stacked}


def with_clients(run: Run, initial: bool = False) -> list[int]:
    """The rounds whose clients' models are stored, and the weights that they were sent. Raises
    BadInput for none.

    `initial`: whether those sent in round 1 are known.
    """
    stored = [round for round in run.saved_rounds if "clients" in run.saved_arrays[round]]
    if not stored:
        how = "run it with results.clients_every=N"
        raise BadInput(
            f"{run.path}: expected rounds stored with their clients' models; got none; {how}"
        )
    begun = [round for round in stored if round - 1 in run.saved_rounds or (round == 1 and initial)]
    if not begun:
        got = f"none of the rounds before {', '.join(map(str, stored))}"
        raise BadInput(
            f"{run.path}: expected the weights that the stored clients were sent; got {got}"
        )
    return begun


def _at(run: Run, round: int, initial: np.ndarray | None) -> dict[str, np.ndarray]:
    """The figures of one round, in which w is what the clients were sent."""
    ids, models, _ = run.client_weights(round)
    sent = initial if round == 1 and initial is not None else run.weights(round - 1)[0]
    weight = _weights_in_mean(run, round, ids)
    parts = slices(run.layout).values()
    grams = np.stack([_gram(models[:, part], sent[part]) for part in parts], -1)
    scale = np.array([np.linalg.norm(sent[part].astype("f8")) for part in parts])
    whole = grams.sum(-1, keepdims=True)
    return {
        "client": ids,
        "drift": _lengths(grams),
        "spread": _from_mean(grams, weight),
        "scale": scale,
        "cosine": _cosines(grams),
        "drift_whole": _lengths(whole)[:, 0],
        "spread_whole": _from_mean(whole, weight)[:, 0],
        "cosine_whole": _cosines(whole)[..., 0],
    }


def _weights_in_mean(run: Run, round: int, ids: np.ndarray) -> np.ndarray:
    """[k]: the shares of the clients' replies in the round's mean; they add up to 1."""
    [row] = np.flatnonzero(run.rounds["round"] == round)
    weight = np.nan_to_num(run.clients["weight"][row, ids].astype("f8"))
    return weight / weight.sum()


def _gram(models: np.ndarray, sent: np.ndarray) -> np.ndarray:
    """[k, k]: the inner products of the updates of one layer, in float64."""
    updates = models.astype("f8") - sent.astype("f8")
    return updates @ updates.T


def _lengths(grams: np.ndarray) -> np.ndarray:
    """[k, L] of [k, k, L]"""
    return np.sqrt(np.einsum("ccl->cl", grams))


def _from_mean(grams: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[k, L]: ||u_c - sum_j p_j u_j|| from ||u_c||^2 - 2 <u_c, m> + ||m||^2."""
    with_mean = np.einsum("j,cjl->cl", weight, grams)
    square = np.einsum("ccl->cl", grams) - 2 * with_mean + weight @ with_mean
    return np.sqrt(np.maximum(square, 0))


def _cosines(grams: np.ndarray) -> np.ndarray:
    """[k, k, L]; NaN with an update of length 0."""
    lengths = _lengths(grams)
    product = lengths[:, None] * lengths[None]
    return np.divide(grams, product, out=np.full_like(grams, np.nan), where=product > 0)


def _padded(array: np.ndarray, name: str, places: int) -> np.ndarray:
    """With NaN (client -1) up to `places` along each axis of places."""
    axes = [i for i, axis in enumerate(DIMENSIONS[name][1:]) if axis in ("place", "other")]
    widths = [(0, places - array.shape[i] if i in axes else 0) for i in range(array.ndim)]
    return np.pad(array, widths, constant_values=-1 if name == "client" else np.nan)


def agreement(cosine: np.ndarray) -> np.ndarray:
    """The mean cosine [R] or [R, L] over pairs of different clients, of `cosine` [R, k, k] or [R,
    k, k, L].

    NaN where there is no pair.
    """
    pairs = ~np.eye(cosine.shape[1], dtype=bool)
    values = cosine[:, pairs]
    known = np.isfinite(values)
    mean = np.full(values.shape[:1] + values.shape[2:], np.nan)
    return np.divide(np.where(known, values, 0).sum(1), known.sum(1), out=mean, where=known.any(1))
