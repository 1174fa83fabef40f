"""What each rank spent its time on, by round: /timeline.

`train`, `test`, `wait`, `communicate` and `write` are float32 (rounds, ranks), in seconds; NaN
where a round had fewer ranks. Their rounds are in `round`: runs of before /timeline lack those, or
the whole group. Rounds of before `communicate` have NaN there; their `wait` has what it would have.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from mpifl.store import validate

NAMES = ("train", "test", "wait", "communicate", "write")
_LATER = ("communicate",)
"""those that older runs lack"""

Arrays = Mapping[str, np.ndarray]


class TimelineTable:
    """The seconds of every rank, a row for each round.

    >>> table = TimelineTable()
    >>> seconds = dict.fromkeys(NAMES, [1.0, 0.0]) | {"train": [0.0, 2.0]}
    >>> table.append(1, seconds)
    >>> table.arrays()["train"].tolist()
    [[0.0, 2.0]]
    """

    def __init__(self, arrays: Arrays | None = None) -> None:
        """Empty, or from the `arrays()` of another."""
        self._rows: dict[int, np.ndarray] = {}
        if not arrays:
            return
        unknown = np.full_like(arrays["train"], np.nan)
        for place, round in enumerate(arrays["round"].tolist()):
            self._rows[round] = np.stack([arrays.get(name, unknown)[place] for name in NAMES])

    def append(self, round: int, seconds: Mapping[str, ArrayLike]) -> None:
        """Add a round: an array (ranks) for each of NAMES."""
        self._rows[round] = np.stack([np.asarray(seconds[name], "f4") for name in NAMES])

    def up_to(self, round: int) -> TimelineTable:
        """The rounds up to this one."""
        kept = TimelineTable()
        kept._rows = {known: row for known, row in self._rows.items() if known <= round}
        return kept

    def arrays(self) -> dict[str, np.ndarray]:
        """`round` (R) i8, and each of NAMES (R, ranks) f4; nothing before the first round."""
        if not self._rows:
            return {}
        ranks = max(row.shape[1] for row in self._rows.values())
        seconds = np.full((len(self._rows), len(NAMES), ranks), np.nan, "f4")
        for whole, row in zip(seconds, self._rows.values(), strict=True):
            whole[:, : row.shape[1]] = row
        by_name = {name: seconds[:, place] for place, name in enumerate(NAMES)}
        return {"round": np.array(list(self._rows), "i8"), **by_name}


def check(arrays: Arrays) -> None:
    """Raise ValueError naming the first array that does not fit the others."""
    if not arrays:
        return
    validate.check_array("timeline/round", arrays["round"], "i", (None,))
    shape = (len(arrays["round"]), arrays[NAMES[0]].shape[-1])
    for name in NAMES:
        if name in _LATER and name not in arrays:
            continue
        validate.check_array(f"timeline/{name}", arrays[name], "f", shape)
