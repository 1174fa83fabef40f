"""What a run has measured: a row for each round, and values of the clients that took part in it.

`RoundTable` and `ClientTable` grow while a run is written; `Cohorts` is what readers see.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike

Value = float | int | str

_DTYPES = {int: np.dtype("i8"), float: np.dtype("f8"), str: np.dtype(object)}
_MISSING: dict[type, Value] = {int: -1, float: np.nan, str: ""}
_ROOM = 1 << 12
"""values that a growing vector gets room for, beside as many as it has"""

RESERVED = (
    "round",
    "client",
    "participated",
    "num_samples",
    "cohort",
    "offsets",
    "participation",
    "boundary",
)
"""names of arrays in /clients that are not values reported by clients"""


@dataclass(frozen=True, eq=False)
class Cohorts(Mapping[str, np.ndarray]):
    """What the clients of each round (its cohort) reported, as arrays (R, C) by name.

    They are float32, NaN where a client took no part. `participated` is 1 where a client's reply
    counts: a client that was left out has 0 there, and in `failed` why. An array is made when it is
    asked for, of 4 bytes a round and client. `reported` has the values without the gaps.

    >>> loss = np.array([0.5, 0.25, 1], "f4")
    >>> cohorts = Cohorts(3, np.array([0, 2, 1]), np.array([0, 2, 3]), {"loss": loss})
    >>> cohorts["loss"].tolist()
    [[0.5, nan, 0.25], [nan, 1.0, nan]]
    >>> cohorts["participated"].tolist()
    [[1, 0, 1], [0, 1, 0]]
    """

    clients: int
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, "i8"))
    """(E) i8: the clients of the cohorts, round after round"""
    offsets: np.ndarray = field(default_factory=lambda: np.zeros(1, "i8"))
    """(R + 1) i8: where each round begins in `ids`, and the end"""
    reported: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(E) f4 by name: the value of each client in `ids`"""

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Cohorts:
        """From arrays (R, C) by name, `participated` among them."""
        took_part = arrays["participated"] > 0
        if "failed" in arrays:
            took_part |= arrays["failed"] > 0
        ids = np.nonzero(took_part)[1]
        offsets = np.concatenate([[0], np.cumsum(took_part.sum(axis=1))])
        reported = {}
        for name, array in arrays.items():
            if name != "participated":
                reported[name] = array[took_part]
        return cls(took_part.shape[1], ids, offsets, reported)

    @property
    def rounds(self) -> int:
        return len(self.offsets) - 1

    def up_to(self, rounds: int) -> Cohorts:
        """The first `rounds` rounds, without the names that nobody reported in them."""
        offsets = self.offsets[: rounds + 1]
        end = offsets[-1]
        reported = {}
        for name, values in self.reported.items():
            if not np.isnan(values[:end]).all():
                reported[name] = values[:end]
        return Cohorts(self.clients, self.ids[:end], offsets, reported)

    def __getitem__(self, name: str) -> np.ndarray:
        if name == "participated":
            return self._spread(self._counts().astype("u1"), absent=0)
        return self._spread(self.reported[name].astype("f4", copy=False), absent=np.nan)

    def __iter__(self) -> Iterator[str]:
        return iter(("participated", *self.reported))

    def __len__(self) -> int:
        return 1 + len(self.reported)

    def _counts(self) -> np.ndarray:
        """(E) bool: whether the reply of each client in `ids` counts."""
        if "failed" not in self.reported:
            return np.ones(len(self.ids), bool)
        return ~(self.reported["failed"] > 0)  # NaN in rounds without a failure

    def _spread(self, values: np.ndarray, absent: float) -> np.ndarray:
        """Values (E) as an array (R, C), `absent` where a client took no part."""
        array = np.full((self.rounds, self.clients), absent, values.dtype)
        rows = np.repeat(np.arange(self.rounds), np.diff(self.offsets))
        array[rows, self.ids] = values
        return array


class RoundTable:
    """Rows of named values. A column may begin late: earlier rows then read NaN, -1 or "".

    >>> rounds = RoundTable()
    >>> rounds.append(1, {"bytes_up": 8})
    >>> rounds.append(2, {"bytes_up": 9, "test_accuracy": 0.5})
    >>> rounds.columns()["test_accuracy"].tolist()
    [nan, 0.5]
    """

    def __init__(self, columns: Mapping[str, np.ndarray] | None = None) -> None:
        """Empty, or from the `columns()` of another."""
        columns = columns or {"round": np.zeros(0, "i8")}
        self._rows: dict[int, dict[str, Value]] = {}
        self._kinds: dict[str, type] = {}
        for round in columns["round"].tolist():
            self._rows[round] = {}
        for name, column in columns.items():
            if name != "round":
                self._add_column(name, column)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def last(self) -> int:
        """The last round appended; 0 before any."""
        return next(reversed(self._rows), 0)

    @property
    def last_row(self) -> dict[str, Value]:
        """The values of the last row, without columns that it lacks; empty before any."""
        return dict(self._rows.get(self.last, {}))

    def append(self, round: int, row: Mapping[str, Value]) -> None:
        """Add a row.

        Raises ValueError unless the round is later than all before, and ValueError or TypeError for
        values that do not fit their column; then nothing has changed.
        """
        if self._rows and round <= self.last:
            raise ValueError(f"rounds: expected one after {self.last}; got {round}")
        self._rows[round] = self._plain_values(row)

    def add(self, round: int, row: Mapping[str, Value]) -> None:
        """Add values to the last row, which is that of `round`.

        Raises ValueError for another round and for values that the row has already, and as `append`
        for others; then nothing has changed.
        """
        if round != self.last or not self._rows:
            raise ValueError(f"rounds: expected round {self.last}, the last one; got {round}")
        before = self._rows[round]
        known = sorted(before.keys() & row.keys())
        if known:
            raise ValueError(f"rounds: expected new values for round {round}; got {known}")
        self._rows[round] = before | self._plain_values(row)

    def columns(self) -> dict[str, np.ndarray]:
        """`round` (R) i8 and every column (R): i8, f8 or text."""
        columns = {"round": np.array(list(self._rows), "i8")}
        for name, kind in self._kinds.items():
            values = [row.get(name, _MISSING[kind]) for row in self._rows.values()]
            columns[name] = np.array(values, _DTYPES[kind])
        return columns

    def _plain_values(self, row: Mapping[str, Value]) -> dict[str, Value]:
        """The values as Python's own, once their columns can have them."""
        values = {name: _plain(name, value) for name, value in row.items()}
        kinds = {}
        for name, value in values.items():
            kinds[name] = _wider_kind(name, self._kinds.get(name), type(value))
        self._kinds |= kinds
        return values

    def _add_column(self, name: str, column: np.ndarray) -> None:
        kind = next(kind for kind, dtype in _DTYPES.items() if dtype == column.dtype)
        for row, value in zip(self._rows.values(), column.tolist(), strict=True):
            if value != _MISSING[kind] and not _is_nan(value):
                row[name] = value
                self._kinds[name] = kind


class ClientTable:
    """What the cohorts of the rounds so far reported, one cohort after the other.

    All values of a name are in one vector that grows: many small arrays, one a round, would
    fragment the heap.
    """

    def __init__(self, before: Cohorts) -> None:
        self._clients = before.clients
        self._offsets: list[int] = before.offsets.tolist()
        self._ids = _GrowingVector(before.ids)
        self._reported = {name: _GrowingVector(v) for name, v in before.reported.items()}

    def put(self, index: int, values: Mapping[str, ArrayLike], ids: ArrayLike) -> None:
        """Set the cohort of row `index` to `ids` (k), and what it reported to `values` (k) by name.

        Later rows are dropped. Raises ValueError for values or ids that do not fit, and then
        nothing has changed.
        """
        ids = self._checked_ids(ids)
        checked = {name: _one_each(name, value, ids) for name, value in values.items()}
        del self._offsets[index + 1 :]
        start = self._offsets[index]
        for name in checked:
            if name not in self._reported:
                self._reported[name] = _GrowingVector(_all_nan(start))
        self._ids.write(start, ids)
        for name, vector in self._reported.items():
            vector.write(start, checked.get(name, _all_nan(len(ids))))
        self._offsets.append(start + len(ids))

    def cohorts(self, rounds: int) -> Cohorts:
        """The cohorts of the first `rounds` rounds. They are views, valid until the next `put`."""
        offsets = np.array(self._offsets[: rounds + 1], "i8")
        end = offsets[-1]
        reported = {name: vector.up_to(end) for name, vector in self._reported.items()}
        return Cohorts(self._clients, self._ids.up_to(end), offsets, reported)

    def _checked_ids(self, ids: ArrayLike) -> np.ndarray:
        ids = np.asarray(ids, "i8")
        distinct = ids.ndim == 1 and len(np.unique(ids)) == len(ids)
        if not distinct or not ((ids >= 0) & (ids < self._clients)).all():
            raise ValueError(
                f"clients: expected different numbers below {self._clients}; got {ids}"
            )
        return ids


class _GrowingVector:
    """A vector that is written at its end, or again from an earlier place."""

    def __init__(self, start: np.ndarray) -> None:
        self._array = np.array(start)

    def write(self, place: int, values: np.ndarray) -> None:
        end = place + len(values)
        if end > len(self._array):
            room = np.empty(end + _ROOM, self._array.dtype)
            self._array = np.concatenate([self._array[:place], room])
        self._array[place:end] = values

    def up_to(self, end: int) -> np.ndarray:
        return self._array[:end]


def _all_nan(size: int) -> np.ndarray:
    return np.full(size, np.nan, "f4")


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _one_each(name: str, value: ArrayLike, ids: np.ndarray) -> np.ndarray:
    array = np.asarray(value, "f4")
    if name in RESERVED or array.shape != ids.shape:
        raise ValueError(
            f"clients.{name}: expected a free name and {len(ids)} values; got shape {array.shape}"
        )
    return array


def _plain(name: str, value: Value) -> Value:
    """The value as Python's own int, float or str; raises TypeError for any other."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral | np.bool_):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"rounds.{name}: expected a number or text; got {type(value).__name__}")


def _wider_kind(name: str, before: type | None, now: type) -> type:
    """The kind of a column that has values of both kinds; raises TypeError for text and numbers."""
    mixed = before is not None and (before is str) != (now is str)
    if name == "round" or mixed:
        raise TypeError(
            f"rounds.{name}: expected a free name and one kind of value; got {now.__name__} too"
        )
    if before is None or now is not int:
        return now
    return before
