"""What the clients of each round reported: kept by cohort, shown as arrays (rounds, clients)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Cohorts(Mapping[str, np.ndarray]):
    """By name, arrays (R, C): float32, NaN where a client took no part, and `participated` of 0 and
    1.

    An array is made when it is asked for, and takes 4 bytes a round and client then; `values` are
    always there.

    >>> cohorts = Cohorts(3, np.array([0, 2, 1]), np.array([0, 2, 3]), {"loss": np.array([0.5, 0.25, 1], "f4")})
    >>> cohorts["loss"].tolist(), cohorts["participated"].tolist()
    ([[0.5, nan, 0.25], [nan, 1.0, nan]], [[1, 0, 1], [0, 1, 0]])
    """

    clients: int
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, "i8"))
    """(E) i8: the clients of the cohorts, round after round"""
    offsets: np.ndarray = field(default_factory=lambda: np.zeros(1, "i8"))
    """(R + 1) i8: where each round begins in `ids`, and the end"""
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(E) f4 each: what they reported"""

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Cohorts:
        """From all arrays (R, C), `participated` among them."""
        took_part = arrays["participated"] > 0
        offsets = np.concatenate([[0], np.cumsum(took_part.sum(1))])
        values = {
            name: array[took_part] for name, array in arrays.items() if name != "participated"
        }
        return cls(took_part.shape[1], np.nonzero(took_part)[1], offsets, values)

    @property
    def rounds(self) -> int:
        return len(self.offsets) - 1

    def upto(self, rounds: int) -> Cohorts:
        """The first `rounds` rounds, without what was not reported in them."""
        offsets = self.offsets[: rounds + 1]
        values = {name: value[: offsets[-1]] for name, value in self.values.items()}
        known = {name: value for name, value in values.items() if not np.isnan(value).all()}
        return Cohorts(self.clients, self.ids[: offsets[-1]], offsets, known)

    def __getitem__(self, name: str) -> np.ndarray:
        marks = name == "participated"
        value = 1 if marks else self.values[name]
        array = np.full(
            (self.rounds, self.clients), 0 if marks else np.nan, "u1" if marks else "f4"
        )
        array[np.repeat(np.arange(self.rounds), np.diff(self.offsets)), self.ids] = value
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(("participated", *self.values))

    def __len__(self) -> int:
        return 1 + len(self.values)
