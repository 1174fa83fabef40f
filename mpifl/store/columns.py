"""What a run has measured so far, in memory: a row per round, and a row per round of one value per client."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np

Value = float | int | str
_DTYPES = {int: np.dtype("i8"), float: np.dtype("f8"), str: np.dtype(object)}
_MISSING: dict[type, Value] = {int: -1, float: np.nan, str: ""}
_FIRST_CAPACITY = 64


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
        self._rows: dict[int, dict[str, Value]] = {round: {} for round in given.pop("round").tolist()}
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
        """Add a round later than all before. Raises ValueError or TypeError, and then nothing has changed."""
        if self._rows and round <= self.last:
            raise ValueError(f"rounds: expected one after {self.last}; got {round}")
        self._rows[round] = self._checked(row)

    def columns(self) -> dict[str, np.ndarray]:
        """`round` (R) i8 and every column (R): i8, f8 or text."""
        columns = {"round": np.array(list(self._rows), "i8")}
        for name, kind in self._kinds.items():
            missing = _MISSING[kind]
            columns[name] = np.array([row.get(name, missing) for row in self._rows.values()], _DTYPES[kind])
        return columns

    def _checked(self, row: Mapping[str, Value]) -> dict[str, Value]:
        checked = {name: _plain(name, value) for name, value in row.items()}
        kinds = {name: _wider(name, self._kinds.get(name), type(value)) for name, value in checked.items()}
        self._kinds |= kinds
        return checked


class Clients:
    """Arrays (R, C), float32 and NaN where a client took no part, and `participated` (R, C) of 0 and 1."""

    def __init__(self, clients: int, columns: Mapping[str, np.ndarray] | None = None) -> None:
        """Empty, or from what `columns(rows)` gave."""
        given = columns or {}
        self.clients = clients
        self._capacity = max([_FIRST_CAPACITY, *map(len, given.values())])
        self._arrays = {"participated": self._blank("participated")}
        for name, column in given.items():
            if name == "participated" or not np.isnan(column).all():
                self._arrays.setdefault(name, self._blank(name))[: len(column)] = column

    def put(self, index: int, values: Mapping[str, np.ndarray], ids: np.ndarray) -> None:
        """Write row `index`: each value (k) belongs to the client of the same place in `ids` (k)."""
        ids = self._checked_ids(ids)
        values = {name: _one_each(name, value, ids) for name, value in values.items()}
        while index >= self._capacity:
            self._grow()
        for array in self._arrays.values():
            array[index] = _missing(array)
        for name, value in {**values, "participated": 1}.items():
            if name not in self._arrays:
                self._arrays[name] = self._blank(name)
            self._arrays[name][index, ids] = value

    def columns(self, rows: int) -> dict[str, np.ndarray]:
        """The first `rows` rows of each column, as views."""
        return {name: array[:rows] for name, array in self._arrays.items()}

    def _blank(self, name: str) -> np.ndarray:
        array = np.empty((self._capacity, self.clients), "u1" if name == "participated" else "f4")
        array[:] = _missing(array)
        return array

    def _grow(self) -> None:
        before, self._capacity = self._capacity, 2 * self._capacity
        for name, old in self._arrays.items():
            self._arrays[name] = self._blank(name)
            self._arrays[name][:before] = old

    def _checked_ids(self, ids: np.ndarray) -> np.ndarray:
        ids = np.asarray(ids, "i8")
        if ids.ndim != 1 or len(np.unique(ids)) != len(ids) or not np.isin(ids, np.arange(self.clients)).all():
            raise ValueError(f"clients: expected different numbers below {self.clients}; got {ids}")
        return ids


def _missing(array: np.ndarray) -> float:
    return 0 if array.dtype.kind == "u" else np.nan


def _one_each(name: str, value: np.ndarray, ids: np.ndarray) -> np.ndarray:
    value = np.asarray(value, "f4")
    if name in ("round", "client", "participated", "num_samples") or value.shape != ids.shape:
        raise ValueError(f"clients.{name}: expected a free name and {len(ids)} values; got shape {value.shape}")
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
        raise TypeError(f"rounds.{name}: expected a free name and one kind of value; got {now.__name__} too")
    return before if now is int and before is not None else now
