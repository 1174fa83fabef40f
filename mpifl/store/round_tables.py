"""What a run has measured: a row per round, and for each round a value per client of the cohort."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np

Value = float | int | str
_DTYPES = {int: np.dtype("i8"), float: np.dtype("f8"), str: np.dtype(object)}
_MISSING: dict[type, Value] = {int: -1, float: np.nan, str: ""}
TAKEN = (
    "round",
    "client",
    "participated",
    "num_samples",
    "cohort",
    "offsets",
    "participation",
    "boundary",
)
"""names in /clients that are not a client's to report under"""

_ROOM = 1 << 12  # for so many values more than twice those there are


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


class Rounds:
    """Rows of named values; a column may appear late: earlier rows read NaN, -1 or "".

    >>> rounds = Rounds()
    >>> rounds.append(1, {"bytes_up": 8})
    >>> rounds.append(2, {"bytes_up": 9, "test_accuracy": 0.5})
    >>> rounds.columns()["test_accuracy"].tolist()
    [nan, 0.5]
    """

    def __init__(self, columns: Mapping[str, np.ndarray] | None = None) -> None:
        """Empty, or from what `columns()` gave."""
        given = dict(columns or {"round": np.zeros(0, "i8")})
        self._rows: dict[int, dict[str, Value]] = {
            round: {} for round in given.pop("round").tolist()
        }
        self._kinds: dict[str, type] = {}
        for name, column in given.items():
            kind = next(kind for kind, dtype in _DTYPES.items() if dtype == column.dtype)
            for row, value in zip(self._rows.values(), column.tolist(), strict=True):
                if value == value and value != _MISSING[kind]:
                    row[name] = value
                    self._kinds[name] = kind

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def last(self) -> int:
        """The last round appended; 0 before any."""
        return next(reversed(self._rows), 0)

    def append(self, round: int, row: Mapping[str, Value]) -> None:
        """Add a round later than all before. Raises ValueError or TypeError, and then nothing has
        changed.
        """
        if self._rows and round <= self.last:
            raise ValueError(f"rounds: expected one after {self.last}; got {round}")
        self._rows[round] = self._checked(row)

    def columns(self) -> dict[str, np.ndarray]:
        """`round` (R) i8 and every column (R): i8, f8 or text."""
        columns = {"round": np.array(list(self._rows), "i8")}
        for name, kind in self._kinds.items():
            missing = _MISSING[kind]
            columns[name] = np.array(
                [row.get(name, missing) for row in self._rows.values()], _DTYPES[kind]
            )
        return columns

    def _checked(self, row: Mapping[str, Value]) -> dict[str, Value]:
        checked = {name: _plain(name, value) for name, value in row.items()}
        kinds = {
            name: _wider(name, self._kinds.get(name), type(value))
            for name, value in checked.items()
        }
        self._kinds |= kinds
        return checked


class Clients:
    """The cohorts of the rounds so far, one after the other.

    They are kept in few arrays that grow: many small ones, a round's each, would leave the heap
    full of holes.
    """

    def __init__(self, before: Cohorts) -> None:
        self._clients = before.clients
        self._offsets = before.offsets.tolist()
        self._ids = _Growing(before.ids)
        self._values = {name: _Growing(value) for name, value in before.values.items()}

    def put(self, index: int, values: Mapping[str, np.ndarray], ids: np.ndarray) -> None:
        """Write row `index`: each value (k) belongs to the client of the same place in `ids` (k)."""
        ids = self._checked_ids(ids)
        values = {name: _one_each(name, value, ids) for name, value in values.items()}
        del self._offsets[index + 1 :]
        start, nothing = self._offsets[index], _nothing(len(ids))
        for name in values:
            if name not in self._values:
                self._values[name] = _Growing(_nothing(start))
        self._ids.write(start, ids)
        for name, grown in self._values.items():
            grown.write(start, values.get(name, nothing))
        self._offsets.append(start + len(ids))

    def cohorts(self, rounds: int) -> Cohorts:
        """Those of the first `rounds` rounds, as they are now: good until the next `put`."""
        offsets = np.array(self._offsets[: rounds + 1], "i8")
        values = {name: grown.upto(offsets[-1]) for name, grown in self._values.items()}
        return Cohorts(self._clients, self._ids.upto(offsets[-1]), offsets, values)

    def _checked_ids(self, ids: np.ndarray) -> np.ndarray:
        ids = np.asarray(ids, "i8")
        if (
            ids.ndim != 1
            or len(np.unique(ids)) != len(ids)
            or not ((ids >= 0) & (ids < self._clients)).all()
        ):
            raise ValueError(
                f"clients: expected different numbers below {self._clients}; got {ids}"
            )
        return ids


class _Growing:
    """A vector that is written at its end, or again from a place before."""

    def __init__(self, start: np.ndarray) -> None:
        self._array = np.array(start)

    def write(self, place: int, values: np.ndarray) -> None:
        end = place + len(values)
        if end > len(self._array):
            self._array = np.concatenate(
                [self._array[:place], np.empty(end + _ROOM, self._array.dtype)]
            )
        self._array[place:end] = values

    def upto(self, end: int) -> np.ndarray:
        return self._array[:end]


def _nothing(size: int) -> np.ndarray:
    return np.full(size, np.nan, "f4")


def _one_each(name: str, value: np.ndarray, ids: np.ndarray) -> np.ndarray:
    value = np.asarray(value, "f4")
    if name in TAKEN or value.shape != ids.shape:
        raise ValueError(
            f"clients.{name}: expected a free name and {len(ids)} values; got shape {value.shape}"
        )
    return value


def _plain(name: str, value: Value) -> Value:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral | np.bool_):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"rounds.{name}: expected a number or text; got {type(value).__name__}")


def _wider(name: str, before: type | None, now: type) -> type:
    if name == "round" or (before is not None and (before is str) != (now is str)):
        raise TypeError(
            f"rounds.{name}: expected a free name and one kind of value; got {now.__name__} too"
        )
    return before if now is int and before is not None else now
