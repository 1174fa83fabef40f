"""What a run has measured so far, in memory: a row per round, and for each round a value per client of the cohort."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np

from mpifl.store.cohorts import Cohorts

Value = float | int | str
_DTYPES = {int: np.dtype("i8"), float: np.dtype("f8"), str: np.dtype(object)}
_MISSING: dict[type, Value] = {int: -1, float: np.nan, str: ""}
TAKEN = ("round", "client", "participated", "num_samples", "cohort", "offsets", "participation", "boundary")
"""names in /clients that are not a client's to report under"""


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
    """The cohorts of the rounds so far, one after the other."""

    def __init__(self, before: Cohorts) -> None:
        self._before = before
        self._ids: list[np.ndarray] = []
        self._rows: list[dict[str, np.ndarray]] = []

    def put(self, index: int, values: Mapping[str, np.ndarray], ids: np.ndarray) -> None:
        """Write row `index`: each value (k) belongs to the client of the same place in `ids` (k)."""
        ids = self._checked_ids(ids)
        values = {name: _one_each(name, value, ids) for name, value in values.items()}
        place = slice(index - self._before.rounds, None)
        self._ids[place], self._rows[place] = [ids], [values]

    def cohorts(self, rounds: int) -> Cohorts:
        """Those of the first `rounds` rounds."""
        later = rounds - self._before.rounds
        ids, rows = self._ids[:later], self._rows[:later]
        sizes = [*np.diff(self._before.offsets), *map(len, ids)]
        values = {}
        for name in dict.fromkeys((*self._before.values, *(name for row in rows for name in row))):
            known = [row[name] if name in row else _nothing(own) for own, row in zip(ids, rows, strict=True)]
            values[name] = np.concatenate([self._before.values.get(name, _nothing(self._before.ids)), *known])
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype("i8")
        return Cohorts(self._before.clients, np.concatenate([self._before.ids, *ids]), offsets, values)

    def _checked_ids(self, ids: np.ndarray) -> np.ndarray:
        ids, clients = np.array(ids, "i8"), self._before.clients
        if ids.ndim != 1 or len(np.unique(ids)) != len(ids) or not ((ids >= 0) & (ids < clients)).all():
            raise ValueError(f"clients: expected different numbers below {clients}; got {ids}")
        return ids


def _nothing(ids: np.ndarray) -> np.ndarray:
    return np.full(len(ids), np.nan, "f4")


def _one_each(name: str, value: np.ndarray, ids: np.ndarray) -> np.ndarray:
    value = np.array(value, "f4")
    if name in TAKEN or value.shape != ids.shape:
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
