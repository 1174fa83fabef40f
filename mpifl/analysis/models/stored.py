"""The models that a run has stored, and how the command line names their rounds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mpifl.options import BadInput
from mpifl.store import Run, sha256


class ChosenSamples(NamedTuple):
    """Training samples on which a model is measured, instead of those that the protocol chooses."""

    name: str
    """in paths, such as client_000003"""
    label: str
    """in words, such as client 3's data"""
    indices: np.ndarray
    """ascending"""


class StoredModel(NamedTuple):
    """The global model of a round, the average of the server's models, or a client's model after
    its training in that round.
    """

    round: int
    client: int | None
    """None: the global model, or the average"""
    weights: np.ndarray
    """[d]"""
    buffers: np.ndarray
    """[b]"""
    on: ChosenSamples | None = None
    """None: the samples that the protocol chooses for it"""
    average: bool = False
    """whether it is the server's second model: an EMA, SWA or an algorithm's own"""

    @property
    def path(self) -> str:
        """Where findings about it are stored, below the measurement's name."""
        model = self._name if self.client is None else f"client_{self.client:06d}"
        if self.on is not None:
            model = f"{model}_on_{self.on.name}"
        return f"round_{self.round:06d}/{model}"

    @property
    def label(self) -> str:
        """In words."""
        model = self._name if self.client is None else f"client {self.client}"
        if self.on is not None:
            model = f"{model} on {self.on.label}"
        return f"round {self.round} {model}"

    @property
    def _name(self) -> str:
        return "average" if self.average else "global"

    @property
    def sha256(self) -> str:
        """Of the weights and buffers, in hex."""
        return sha256(self.weights, self.buffers)


def has_clients(run: Run, round: int) -> bool:
    """Whether the clients' models of a round are stored."""
    return "clients" in run.saved_arrays.get(round, ())


def has_average(run: Run, round: int) -> bool:
    """Whether the average of the server's models is stored with a round."""
    return "average" in run.saved_arrays.get(round, ())


def select_rounds(run: Run, text: str, clients: bool = False) -> list[int]:
    """The stored rounds that `text` names: last, best (test accuracy), all, or numbers with commas.

    With `clients`, each must be stored with its clients' models; of `all` rounds, at least one.
    Raises BadInput.
    """
    rounds = _select(run, text)
    if not clients:
        return rounds
    without = [round for round in rounds if not has_clients(run, round)]
    if not without or (text == "all" and without != rounds):
        return rounds
    known = [str(round) for round in run.saved_rounds if has_clients(run, round)]
    allowed = f"rounds {', '.join(known)}" if known else "a run with results.clients_every=N"
    got = f"round {', '.join(map(str, without))} without"
    raise BadInput(
        f"{run.path}: expected rounds stored with their clients' models; got {got}; "
        f"allowed: {allowed}"
    )


def _select(run: Run, text: str) -> list[int]:
    saved = run.saved_rounds
    if not saved:
        expected = "a run with stored weights"
        raise BadInput(f"{run.path}: expected {expected}; got none (results.weights_every)")
    if text == "all":
        return saved
    if text == "last":
        return saved[-1:]
    if text == "best":
        is_saved = np.isin(run.rounds["round"], saved)
        accuracy = run.rounds["test_accuracy"][is_saved]
        return [int(run.rounds["round"][is_saved][np.nanargmax(accuracy)])]
    rounds = _numbers(text)
    missing = [str(round) for round in rounds if round not in saved]
    if missing:
        expected = f"some of the stored rounds {saved}"
        raise BadInput(f"--rounds: expected {expected}; got {', '.join(missing)}")
    return rounds


def _numbers(text: str) -> list[int]:
    """Each number once, in the order given."""
    try:
        return list(dict.fromkeys(int(number) for number in text.split(",")))
    except ValueError:
        expected = "last, best, all, or numbers with commas"
        raise BadInput(f"--rounds: expected {expected}; got {text!r}") from None
