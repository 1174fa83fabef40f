"""The server's step: the model after a round, from the mean of the clients' replies."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from mpifl.training.algorithm import ServerRound
from mpifl.training.client_rows import Column, Failure
from mpifl.training.collector import Collected
from mpifl.training.experiment import Experiment
from mpifl.training.messages import Vectors
from mpifl.training.progress import Progress
from mpifl.training.sampling import RoundPlan


class ServerStep:
    """Takes the algorithm's step on the server, and moves the means of models along."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._initial = experiment.clients.net.weights.cpu().clone()

    def __call__(self, before: Progress, plan: RoundPlan, collected: Collected) -> Progress:
        """How the run stands after the round, its figures and models left out."""
        if not len(plan.cohort):
            return _unchanged(before, plan, collected)
        clients = self._experiment.clients
        mean = collected.total
        replied = plan.cohort[collected.rows[:, Column.FAILED] == Failure.NONE]
        of = ServerRound(
            round=plan.round,
            rounds=clients.rounds,
            lr=clients.rate(plan.round),
            first_lr=clients.rate(1),
            replies=len(replied),
            share=self._share(replied),
        )
        w, server = clients.algorithm.server(before.w, before.server, mean.algorithm, of)
        buffers = before.buffers
        if len(mean.buffers):
            buffers = clients.buffers.decode(mean.buffers, before.w.dtype)
        means = self._means(before, mean.means, of.share)
        if "average" in clients.means:
            means["average"] = self._average(before, plan.round, w, server)
        return _after(plan, collected, w, buffers, server, means)

    def _share(self, replied: np.ndarray) -> float:
        """The part of all clients' weight that the clients `replied` have."""
        clients = self._experiment.clients
        if self._experiment.objective == "uniform":
            return len(replied) / len(self._experiment.players)
        return float(clients.sizes[replied].sum() / clients.samples_held)

    def _means(self, before: Progress, parts: Vectors, share: float) -> Vectors:
        """The means of local models: of this round's, and of all clients' latest.

        The latter moves by this round's mean change, weighed by the cohort's share.
        """
        means = dict(parts)
        if "all" in parts:
            means["all"] = before.means.get("all", self._initial) + share * parts["all"]
        return means

    def _average(self, before: Progress, round: int, w: Tensor, server: Vectors) -> Tensor:
        """The server's second model after a round that ended in the weights `w`."""
        experiment = self._experiment
        if experiment.clients.algorithm.has_average:
            return experiment.clients.algorithm.average(w, server)
        last = before.means.get("average", self._initial)
        return experiment.evaluation.average(last, before.w, w, round, experiment.rounds)


def _unchanged(before: Progress, plan: RoundPlan, collected: Collected) -> Progress:
    """How the run stands after a round in which nobody took part: as before, a round later."""
    means = {name: mean for name, mean in before.means.items() if name != "cohort"}
    return _after(plan, collected, before.w, before.buffers, before.server, means)


def _after(
    plan: RoundPlan,
    collected: Collected,
    w: Tensor,
    buffers: Tensor,
    server: Vectors,
    means: Vectors,
) -> Progress:
    """How the run stands after a round that ended in these vectors."""
    return Progress(
        w=w,
        buffers=buffers,
        server=server,
        round=plan.round,
        cohort=plan.cohort,
        rows=collected.rows,
        means=means,
        late=plan.late,
        there=plan.there,
    )


def without_failed(collected: Collected, weight_kept: float) -> Collected:
    """The mean of the replies that count, and rows and models without those of failed clients.

    The weights of the others sum to 1, as in the mean.
    """
    rows = collected.rows.copy()
    failed = rows[:, Column.FAILED] != Failure.NONE
    rows[:, Column.WEIGHT] /= weight_kept
    rows[failed, Column.WEIGHT] = 0.0
    rows[failed, Column.LOSS] = np.nan
    rows[failed, Column.ACCURACY] = np.nan
    rows[failed, Column.TEST_ACCURACY] = np.nan
    rows[failed, Column.OWN_RIGHT_BEFORE] = np.nan
    rows[failed, Column.OWN_RIGHT_AFTER] = np.nan
    models = []
    if collected.models:
        models = [collected.models[place] for place in np.flatnonzero(~failed)]
    return collected._replace(
        total=collected.total.divided_by(weight_kept), rows=rows, models=models
    )
