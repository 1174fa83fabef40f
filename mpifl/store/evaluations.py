"""What evaluations have counted, and what is held out of training: /evaluations and /holdout.

An array of /evaluations is named SET_WHAT_by_AXIS, such as `own_right_by_client`: SET is test,
train (training samples) or own (clients' own test sets); AXIS is client, class or bin (of
confidence).
Its first axis are the evaluations, whose rounds are in `round`; arrays of samples have only AXIS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mpifl.store import validate

SAMPLES = "_samples_by_"
"""in names of arrays that are the same in every evaluation"""
AXES = ("client", "class", "bin")
_MISSING: dict[str, float] = {"i": -1, "f": np.nan}

Arrays = Mapping[str, np.ndarray]


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
        self._samples = {name: array for name, array in arrays.items() if SAMPLES in name}
        counts = {name: array for name, array in arrays.items() if not is_fixed(name)}
        for place, round in enumerate(arrays.get("round", np.zeros(0, "i8")).tolist()):
            self.append(round, {name: array[place] for name, array in counts.items()})

    def append(self, round: int, counts: Arrays) -> None:
        """Add an evaluation; arrays of samples are kept once."""
        self._rounds.append(round)
        row = {}
        for name, array in counts.items():
            if SAMPLES in name:
                self._samples[name] = array
            else:
                row[name] = array
        self._rows.append(row)

    def up_to(self, round: int) -> EvaluationTable:
        """The evaluations up to a round."""
        kept = EvaluationTable()
        for evaluated, row in zip(self._rounds, self._rows, strict=True):
            if evaluated <= round:
                kept.append(evaluated, {**self._samples, **row})
        return kept

    def arrays(self) -> dict[str, np.ndarray]:
        """`round` (E) and every array, (E, n) or (n); none before the first evaluation."""
        if not self._rounds:
            return {}
        like: dict[str, np.ndarray] = {}
        for row in self._rows:
            for name, array in row.items():
                like.setdefault(name, np.full_like(array, _MISSING[array.dtype.kind]))
        arrays = {"round": np.array(self._rounds, "i8"), **self._samples}
        for name, missing in like.items():
            arrays[name] = np.stack([row.get(name, missing) for row in self._rows])
        return arrays


def is_fixed(name: str) -> bool:
    """Whether an array of /evaluations is not by evaluation."""
    return name == "round" or SAMPLES in name


def axis_of(name: str) -> str:
    """client, class or bin: the last axis of an array of /evaluations. Raises ValueError."""
    axis = name.rpartition("_by_")[2]
    if axis not in AXES:
        raise ValueError(f"evaluations/{name} has no axis in its name")
    return axis


def check(evaluations: Arrays, holdout: Arrays, clients: int) -> None:
    """Raise ValueError naming the first array that does not fit the others."""
    rounds = evaluations.get("round", np.zeros(0, "i8"))
    validate.check_array("evaluations/round", rounds, "i", (None,))
    for name, array in evaluations.items():
        if name != "round":
            length = clients if axis_of(name) == "client" else None
            lengths = (length,) if SAMPLES in name else (len(rounds), length)
            validate.check_array(f"evaluations/{name}", array, "if", lengths)
    if holdout:
        validate.check_array("holdout/indices", holdout["indices"], "i", (None,))
        validate.check_array("holdout/offsets", holdout["offsets"], "i", (clients + 1,))
        validate.check_array("holdout/trains", holdout["trains"], "i", (clients,))


def holdout_arrays(
    holdout: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
) -> dict[str, Any]:
    """The arrays of /holdout by name: none where nothing is held out."""
    if holdout is None:
        return {}
    indices, offsets, trains = holdout
    return {
        "indices": np.asarray(indices, "i8"),
        "offsets": np.asarray(offsets, "i8"),
        "trains": np.asarray(trains, "i8"),
    }
