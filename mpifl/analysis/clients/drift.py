"""How far clients move from the model that they were sent, by layer, and whether in one direction.

The update of client c is u_c = y_c - w. Everything follows from the inner products <u_c, u_j> of
each layer: the drift ||u_c||, the cosine of two updates, and the distance from the weighted mean of
the clients' models, ||y_c - sum_j p_j y_j||.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpifl.analysis.models.stored import has_clients
from mpifl.curvature.layers import layers
from mpifl.flat_layout import Entry
from mpifl.options import BadInput
from mpifl.store import Run

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
    """Where each layer's weights and biases lie in the flat vector [d], in its order."""
    members = layers(layout)
    places = {entry.name: entry for entry in layout if entry.kind == "parameter"}
    found = {}
    for layer, names in members.items():
        first = places[names[0]]
        last = places[names[-1]]
        found[layer] = slice(first.offset, last.offset + last.size)
    return found


def drift(
    run: Run, rounds: Sequence[int] = (), initial: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Drift, distances and cosines of the clients' models stored at `rounds` (default: all stored).

    DIMENSIONS names the axes of the arrays:

    - `drift`: ||y_c - w||; `scale`: ||w||, to make it relative;
    - `spread`: ||y_c - sum_j p_j y_j||, the distance from the round's weighted mean;
    - `cosine`: between the updates of two clients;
    - `drift_whole`, `spread_whole`, `cosine_whole`: the same over all layers at once.

    `initial` [d] are the weights of round 0, needed for round 1 (`ReloadedRun.initial`). A cohort
    smaller than the largest is filled up with NaN, and client -1. Raises BadInput where a round
    lacks its clients' models or the weights that they were sent.
    """
    rounds = list(rounds) or rounds_with_clients(run, initial is not None)
    found = [_at_round(run, round, initial) for round in rounds]
    places = max(len(one["client"]) for one in found)
    arrays = {"round": np.array(rounds), "layer": np.array(list(slices(run.layout)))}
    for name in found[0]:
        arrays[name] = np.stack([_padded(one[name], name, places) for one in found])
    return arrays


def rounds_with_clients(run: Run, initial: bool = False) -> list[int]:
    """The rounds that store their clients' models and the weights that these were sent.

    `initial`: whether the weights of round 0 are known. Raises BadInput where there is no round.
    """
    stored = [round for round in run.saved_rounds if has_clients(run, round)]
    if not stored:
        expected = "rounds stored with their clients' models"
        raise BadInput(
            f"{run.path}: expected {expected}; got none; allowed: a run with "
            "results.clients_every=N; `mpifl features --what features` needs none"
        )
    sent = [round - 1 for round in stored]
    known = [round for round in sent if round in run.saved_rounds or (round == 0 and initial)]
    if not known:
        expected = "the weights that the stored clients were sent"
        got = f"none of the rounds before {', '.join(map(str, stored))}"
        raise BadInput(f"{run.path}: expected {expected}; got {got}")
    return [round + 1 for round in known]


def _at_round(run: Run, round: int, initial: np.ndarray | None) -> dict[str, np.ndarray]:
    """The arrays of one round, without the axis of rounds; w is what the clients were sent."""
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
    """Filled up with NaN (client: -1) to `places` along each axis of clients."""
    widths = []
    for axis, length in zip(DIMENSIONS[name][1:], array.shape, strict=True):
        widths.append((0, places - length if axis in ("place", "other") else 0))
    return np.pad(array, widths, constant_values=-1 if name == "client" else np.nan)
