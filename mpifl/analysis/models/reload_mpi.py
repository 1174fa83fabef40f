"""A run's models and data on all ranks of a federation, which share out the samples that are looked
at.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpifl.analysis.models.reload import Revisited, revisit
from mpifl.curvature import Objective
from mpifl.curvature.objective import Data
from mpifl.data.batches import Samples
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.parallel.communicator import Communicator
from mpifl.parallel.devices import device_for, settle, threads_of
from mpifl.store import Run, sha256


class Subject(NamedTuple):
    """One stored model: the global one of a round, or a client's after its training in that round."""

    round: int
    client: int | None
    weights: np.ndarray
    """[d]"""
    buffers: np.ndarray
    """[b]"""

    @property
    def path(self) -> str:
        """Where findings about it are, below their measurement's name."""
        return f"round_{self.round:06d}/" + (
            "global" if self.client is None else f"client_{self.client:06d}"
        )

    @property
    def label(self) -> str:
        """In words."""
        return f"round {self.round} " + (
            "global" if self.client is None else f"client {self.client}"
        )

    @property
    def sha256(self) -> str:
        """Of the weights and buffers, in hex."""
        return sha256(self.weights, self.buffers)


class Shared:
    """A run revisited by all ranks; `net` is this rank's, in the asked precision.

    Raises BadInput, on all ranks, for a run still being written (unless `unfinished`) and for other
    data than its own. `path`: where its packed data is now, if it has moved.
    """

    def __init__(
        self,
        run: Run,
        communicator: Communicator,
        *,
        path: str = "",
        unfinished: bool = False,
        precision: Literal["float32", "float64"] = "float32",
    ) -> None:
        self.run, self.communicator, self.precision = run, communicator, precision
        communicator.agree(lambda: _refuse_unfinished(run, unfinished))
        device = _place(communicator)
        self.stage: Revisited = communicator.agree(lambda: revisit(run, path, device))
        module = copy.deepcopy(self.stage.net.module)
        # Not channels-last: products with a Hessian take up to 1.17 times longer in it (ResNet, on
        # a CPU).
        self.net = Net(module.double() if precision == "float64" else module, device)
        self.samples = cache(self._samples)

    def subjects(self, rounds: Sequence[int], clients: bool = False) -> list[Subject]:
        """The stored global models of `rounds`, and with `clients` theirs, in the rounds that have
        stored them.

        Raises BadInput where a global model is not stored, or no round has its clients'.
        """
        return self.communicator.agree(lambda: list(self._subjects(rounds, clients)))

    def objective(self, subject: Subject, data: Data) -> Objective:
        """The mean cross-entropy over the ranks' `data`, with the model's buffers."""
        return Objective(
            self.net, data, self.vector(subject.buffers), self.total, self.stage.forward
        )

    def vector(self, values: np.ndarray) -> Tensor:
        """Stored values as the net has them: its precision, its device."""
        return torch.from_numpy(values).to(self.net.weights)

    def total(self, vector: Tensor) -> Tensor:
        """The sum over ranks, on all of them."""
        if self.communicator.size == 1:
            return vector
        return torch.from_numpy(self.communicator.everywhere(vector.cpu().numpy())).to(
            vector.device
        )

    def first(self, value: float) -> float:
        """The first rank's."""
        return self.communicator.bcast(value)

    def _samples(self, split: str) -> Samples:
        return self.stage.samples(getattr(self.stage.dataset, split), self.net.weights.dtype)

    def _subjects(self, rounds: Sequence[int], clients: bool) -> Iterator[Subject]:
        if clients and not any(_has_clients(self.run, round) for round in rounds):
            self.run.client_weights(rounds[0])  # says what is missing
        for round in rounds:
            yield Subject(round, None, *self.stage.weights(round))
            if clients and _has_clients(self.run, round):
                for client, weights, buffers in zip(*self.run.client_weights(round), strict=True):
                    yield Subject(round, int(client), weights, buffers)


def rounds_named(run: Run, text: str, clients: bool = False) -> list[int]:
    """The stored rounds that `text` means: last, best (by test accuracy), all, or numbers with
    commas; or BadInput.

    With `clients`, each must have been stored with its clients' models; of all rounds, one at
    least.
    """
    rounds = _rounds_named(run, text)
    without = [round for round in rounds if not _has_clients(run, round)]
    if clients and without and (text != "all" or without == rounds):
        known = [round for round in run.saved_rounds if _has_clients(run, round)]
        allowed = (
            f"rounds {', '.join(map(str, known))}"
            if known
            else "a run with results.clients_every=N"
        )
        got = f"round {', '.join(map(str, without))} without"
        raise BadInput(
            f"{run.path}: expected rounds stored with their clients' models; got {got}; allowed: {allowed}"
        )
    return rounds


def _has_clients(run: Run, round: int) -> bool:
    return "clients" in run.saved_arrays.get(round, ())


def _rounds_named(run: Run, text: str) -> list[int]:
    saved = run.saved_rounds
    if not saved:
        raise BadInput(
            f"{run.path}: expected a run with stored weights; got none (results.weights_every)"
        )
    if text == "best":
        accuracy = run.rounds["test_accuracy"][np.isin(run.rounds["round"], saved)]
        return [saved[int(np.nanargmax(accuracy))]]
    named = {"all": saved, "last": saved[-1:]}
    try:
        rounds = named[text] if text in named else list(dict.fromkeys(map(int, text.split(","))))
    except ValueError:
        raise BadInput(
            f"--rounds: expected last, best, all, or numbers with commas; got {text!r}"
        ) from None
    if missing := [round for round in rounds if round not in saved]:
        raise BadInput(
            f"--rounds: expected some of the stored rounds {saved}; got {', '.join(map(str, missing))}"
        )
    return rounds


def _refuse_unfinished(run: Run, unfinished: bool) -> None:
    if run.status == "running" and not unfinished:
        raise BadInput(
            f"{run.path}: expected a run that has ended; got one still being written, or killed; allowed: wait for it, "
            "resume it, or --unfinished to look at what it has stored"
        )


def _place(communicator: Communicator) -> torch.device:
    """This rank's device; all ranks compute, with what Slurm grants each, or one thread."""
    worker, workers = communicator.worker_on_node()
    device = communicator.agree(lambda: device_for("auto", worker, workers))
    settle(device, threads_of(0))
    return device
