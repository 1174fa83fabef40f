"""A worker's part of a round: its clients, one after the other, into one weighted sum and one row
each.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mpifl.parallel.exact_sum import Diverged, Message, WeightedSum
from mpifl.parallel.heartbeat import Abandoned, Lost
from mpifl.training.client import COLUMNS
from mpifl.training.client_states import ClientStates, State
from mpifl.training.evaluate import Tester
from mpifl.training.experiment import Experiment
from mpifl.training.sampling import weights

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator

_WEIGHT, _LOSS, _FAILED, _TESTED = map(COLUMNS.index, ("weight", "loss", "failed", "test_accuracy"))


class Worker:
    """Plays clients on this rank; what they remember is in `states`."""

    def __init__(
        self, x: Experiment, communicator: Communicator, tester: Tester, states: ClientStates
    ) -> None:
        self.x, self.communicator, self.tester, self.states = x, communicator, tester, states

    def play(
        self, round: int, sent: Message, cohort: np.ndarray, mine: list[int], sums: WeightedSum
    ) -> tuple[np.ndarray, dict[int, State], bool]:
        """Play the clients `mine` of the `cohort`, adding their replies to `sums`.

        Returns their rows of `[cohort, COLUMNS]`, zero elsewhere; their models, in rounds that keep
        them; and whether the round was left because a stop was asked for.
        """
        rows, models = np.zeros((len(cohort), len(COLUMNS))), {}
        shares = weights(self.x.objective, self.x.clients.sizes[cohort])
        try:
            for client in mine:
                i = int(np.searchsorted(cohort, client))
                rows[i] = self._one(client, round, sent, shares[i], sums, models)
        except Abandoned:
            # The server counts on as many models, if only to throw them away.
            return (
                rows,
                dict.fromkeys(mine, self._model(sent["w"], self.x.clients.net.buffers)),
                True,
            )
        return rows, models, False

    def _one(
        self,
        client: int,
        round: int,
        sent: Message,
        share: float,
        sums: WeightedSum,
        models: dict[int, State],
    ) -> np.ndarray:
        """One client: its weighted reply into `sums`, its model into `models` if kept, and its row."""
        x, before = self.x, self.states.of(client)
        try:
            played = x.clients.play(
                client,
                round,
                sent,
                before,
                partial(self.communicator.heartbeat.check, round, client),
            )
        except (Abandoned, Lost):
            raise
        except Exception as error:
            error.add_note(f"rank {self.federation.rank}, round {round}, client {client}")
            raise
        row = played.row
        row[_WEIGHT] = share
        if x.evaluation.clients:
            row[_TESTED] = self.tester.score(played.model[0]).accuracy
        row[_FAILED] = self._add(sums, played.reply, share, row[_LOSS])
        self.states.keep(client, before if row[_FAILED] else played.state)
        if round in x.clients_rounds:
            models[client] = self._model(*played.model)
        return row

    def _add(self, sums: WeightedSum, reply: Message, weight: float, loss: float) -> float:
        """Whether the client failed: 0 no, 1 its loss is not finite, 2 its reply could not be
        added.
        """
        if not np.isfinite(loss) and self.x.divergence != "continue":
            return 1.0
        try:
            sums.add(reply, weight)
        except Diverged:
            return 2.0
        return 0.0

    @staticmethod
    def _model(w, buffers) -> State:
        return {"w": w.cpu(), "buffers": buffers.cpu().clone()}
