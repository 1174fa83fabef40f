"""What evaluations have counted, and what is held out of training: /evaluations and /holdout.

An array of /evaluations is named SET_WHAT_by_AXIS, such as `own_right_by_client`: SET is test,
train (training samples), own (clients' own test sets) or source (test samples of the domains that
train, where others are left out); AXIS is client, class, domain or bin (of confidence).
Its first axis are the evaluations, whose rounds are in `round`; arrays of samples, and the names of
the domains in `names_by_domain`, have only AXIS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mpifl.store import validate

SAMPLES = "_samples_by_"
"""in names of arrays that are the same in every evaluation"""
NAMES = "names_by_domain"
"""the names of the domains, as text"""
AXES = ("client", "class", "domain", "bin")
_MISSING: dict[str, float] = {"i": -1, "f": np.nan}

Arrays = Mapping[str, np.ndarray]


class Holdout(NamedTuple):
    """What is held out of training."""

    indices: np.ndarray
    """i8: the samples of the clients' own test sets, client after client"""
    offsets: np.ndarray
    """(C + 1) i8: where those of each client begin in `indices`, and the end"""
    trains: np.ndarray
    """(C) i8: 1 where the client may train"""
    domains: Sequence[str] = ()
    """names of the domains that never train"""


class EvaluationTable:
    """The evaluations so far: a row for each, of arrays by name. Names may be missing in a row.

    >>> table = EvaluationTable()
    >>> table.append(2, {"own_right_by_client": np.array([1, 2])})
    >>> table.append(4, {"own_right_by_client": np.array([2, 2])})
    >>> table.arrays()["own_right_by_client"].tolist()
    [[1, 2], [2, 2]]
    """

    def __init__(self, arrays: Arrays | None = None) -> None:
        """Empty, or from the `arrays()` of another."""
        arrays = arrays or {}
        self._rounds: list[int] = []
        self._rows: list[Arrays] = []
        self._fixed = {name: array for name, array in arrays.items() if _is_once(name)}
        counts = {name: array for name, array in arrays.items() if not is_fixed(name)}
        for place, round in enumerate(arrays.get("round", np.zeros(0, "i8")).tolist()):
            self.append(round, {name: array[place] for name, array in counts.items()})

    def append(self, round: int, counts: Arrays) -> None:
        """Add an evaluation; arrays of samples, and names, are kept once."""
        self._rounds.append(round)
        row = {}
        for name, array in counts.items():
            if _is_once(name):
                self._fixed[name] = array
            else:
                row[name] = array
        self._rows.append(row)

    def up_to(self, round: int) -> EvaluationTable:
        """The evaluations up to a round."""
        kept = EvaluationTable()
        for evaluated, row in zip(self._rounds, self._rows, strict=True):
            if evaluated <= round:
                kept.append(evaluated, {**self._fixed, **row})
        return kept

    def arrays(self) -> dict[str, np.ndarray]:
        """`round` (E) and every array, (E, n) or (n); none before the first evaluation."""
        if not self._rounds:
            return {}
        like: dict[str, np.ndarray] = {}
        for row in self._rows:
            for name, array in row.items():
                like.setdefault(name, np.full_like(array, _MISSING[array.dtype.kind]))
        arrays = {"round": np.array(self._rounds, "i8"), **self._fixed}
        for name, missing in like.items():
            arrays[name] = np.stack([row.get(name, missing) for row in self._rows])
        return arrays


def is_fixed(name: str) -> bool:
    """Whether an array of /evaluations is not by evaluation."""
    return name == "round" or _is_once(name)


def _is_once(name: str) -> bool:
    return name == NAMES or SAMPLES in name


def axis_of(name: str) -> str:
    """client, class, domain or bin: the last axis of an array. Raises ValueError."""
    axis = name.rpartition("_by_")[2]
    if axis not in AXES:
        raise ValueError(f"evaluations/{name} has no axis in its name")
    return axis


def check(evaluations: Arrays, holdout: Arrays, clients: int) -> None:
    """Raise ValueError naming the first array that does not fit the others."""
    rounds = evaluations.get("round", np.zeros(0, "i8"))
    validate.check_array("evaluations/round", rounds, "i", (None,))
    lengths_of_axes = {"client": clients}
    if NAMES in evaluations:
        lengths_of_axes["domain"] = len(evaluations[NAMES])
    for name, array in evaluations.items():
        if name != "round":
            length = lengths_of_axes.get(axis_of(name))
            lengths = (length,) if is_fixed(name) else (len(rounds), length)
            kinds = "O" if name == NAMES else "if"
            validate.check_array(f"evaluations/{name}", array, kinds, lengths)
    if holdout:
        validate.check_array("holdout/indices", holdout["indices"], "i", (None,))
        validate.check_array("holdout/offsets", holdout["offsets"], "i", (clients + 1,))
        validate.check_array("holdout/trains", holdout["trains"], "i", (clients,))
        if "domains" in holdout:
            validate.check_array("holdout/domains", holdout["domains"], "O", (None,))


def holdout_arrays(holdout: Holdout | None) -> dict[str, Any]:
    """The arrays of /holdout by name: none where nothing is held out."""
    if holdout is None:
        return {}
    arrays = {
        "indices": np.asarray(holdout.indices, "i8"),
        "offsets": np.asarray(holdout.offsets, "i8"),
        "trains": np.asarray(holdout.trains, "i8"),
    }
    if holdout.domains:
        arrays["domains"] = np.array(holdout.domains, object)
    return arrays
