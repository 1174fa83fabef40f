"""What a round takes on a cluster: from steps measured here, the real cohorts, and a network.

    round = Bcast + training and tests, of the rank that ends last + Reduce + the server

Training is that of the rank that ends last, with the run's own longest-first assignment of the
clients of its real cohorts. Where a node has fewer cores than ranks at work, these share them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpifl.plan import cost
from mpifl.plan.dry_run import DryRun
from mpifl.plan.network import Network
from mpifl.plan.profile import Profile
from mpifl.training.dealing import deal
from mpifl.training.sampling import assign, costs
from mpifl.training.timetable import Turn

_ONE_CLIENT = 0.95  # of its worker's time: then the longest client is what limits
_PAYS = 0.9  # of the time of half the nodes: a node more is worth it


@dataclass(frozen=True)
class Cluster:
    """Where a run would be."""

    nodes: int
    ranks_per_node: int
    network: Network
    cores: int = 0
    """of a node; 0: as many as its ranks use"""
    threads: int = 1
    """of a rank"""

    @property
    def ranks(self) -> int:
        return self.nodes * self.ranks_per_node

    @property
    def at_once(self) -> float:
        """How many ranks of a node can work at their full speed."""
        return self.cores / self.threads if self.cores else float(self.ranks_per_node)


class Work(NamedTuple):
    """The seconds of work of one round, each on one rank at full speed."""

    workers: np.ndarray
    """f8 [workers]: training on each of them"""
    longest_client: float
    test: float
    """of an evaluation"""
    batches: int
    """of an evaluation: what is dealt to ranks"""


class Forecast(NamedTuple):
    """What a round takes on a cluster: means over a few of the run's cohorts, in seconds."""

    nodes: int
    ranks: int
    clients: float
    """of the worker that ends last"""
    broadcast: float
    training: float
    """of the worker that ends last"""
    waiting: float
    """for tests, after all training"""
    reduce: float
    server: float
    """of the server alone: its step, digests"""
    limit: str
    """what takes the most: compute, longest client, Bcast, Reduce, server or test"""
    alone: float
    """of a round on one rank"""

    @property
    def round(self) -> float:
        return self.broadcast + self.training + self.waiting + self.reduce + self.server

    @property
    def efficiency(self) -> float:
        """How much of the ranks' time is work that one rank would have to do too."""
        return self.alone / (self.ranks * self.round)


def forecast(planned: DryRun, measured: Profile, cluster: Cluster) -> Forecast:
    """What an average round takes on `cluster`."""
    traffic = cost.traffic(planned, cost.loads(planned, [1])[0].cohort)
    network = cluster.network
    ranks = cluster.ranks
    works = []
    clients = []
    for turn in cost.turns(planned):
        work, most = _work(planned, measured, turn, max(1, ranks - 1))
        works.append(work)
        clients.append(most)
    evaluation = planned.config.evaluation
    where: str = evaluation.where
    if planned.config.algorithm.personal:
        where = "personal"
    training = float(np.mean([_training(work, cluster) for work in works]))
    tested = float(np.mean([end_of_round(work, cluster, where) for work in works]))
    waiting = max(0.0, tested - training) / evaluation.every
    broadcast = network.broadcast_seconds(traffic.broadcast, cluster.nodes, cluster.ranks_per_node)
    reduce = network.reduce_seconds(traffic.reduce, cluster.nodes, cluster.ranks_per_node)
    alone = float(np.mean([work.workers.sum() for work in works]))
    alone += works[0].test / evaluation.every + measured.server
    parts = {
        "test": waiting,
        "Bcast": broadcast,
        "Reduce": reduce,
        "server": measured.server,
        "compute": training,
    }
    limit = max(parts, key=lambda name: parts[name])
    longest = float(np.mean([work.longest_client for work in works]))
    if limit == "compute" and ranks > 2 and longest > _ONE_CLIENT * training:
        limit = "longest client"
    return Forecast(
        cluster.nodes,
        ranks,
        float(np.mean(clients)),
        broadcast,
        training,
        waiting,
        reduce,
        measured.server,
        limit,
        alone,
    )


def fewer_nodes(nodes: int) -> list[int]:
    """1, 2, 4 ... and `nodes`.

    >>> fewer_nodes(6)
    [1, 2, 4, 6]
    """
    powers = [2**power for power in range(nodes.bit_length()) if 2**power < nodes]
    return [*powers, nodes]


def last_that_pays(forecasts: list[Forecast]) -> Forecast | None:
    """The forecast after which more nodes shorten a round by less than a tenth; None: they all pay.

    The forecasts have ever more nodes.
    """
    for fewer, more in zip(forecasts, forecasts[1:], strict=False):
        if more.round > _PAYS * fewer.round:
            return fewer
    return None


def finish(works: np.ndarray, at_once: float) -> float:
    """When the last of some `works` (seconds) ends of which `at_once` run at full speed.

    More than these share the time evenly.

    >>> finish(np.array([1.0, 1.0, 1.0]), 2), finish(np.array([3.0, 1.0, 1.0]), 2)
    (1.5, 3.5)
    """
    if len(works) <= at_once:
        return float(works.max())
    now = 0.0
    done = 0.0
    left = len(works)
    for work in np.sort(works).tolist():
        now += (work - done) * max(1.0, left / at_once)
        done = work
        left -= 1
    return now


def _work(planned: DryRun, measured: Profile, turn: Turn, workers: int) -> tuple[Work, float]:
    """The work of a round, and the number of clients of the worker with the most work."""
    of_client, test = cost.of_client_and_test(planned, measured)
    batches = max(1, round(test / measured.evaluation)) if measured.evaluation else 1
    seconds = of_client + turn.steps * measured.step
    if not len(turn.cohort):
        return Work(np.zeros(workers), 0.0, test, batches), 0.0
    if len(turn.cohort) > cost.MOST_ASSIGNED:
        each = max(float(seconds.max()), float(seconds.sum()) / workers)
        return Work(np.full(workers, each), float(seconds.max()), test, batches), len(
            seconds
        ) / workers
    by_worker = np.zeros(workers)
    counts = np.zeros(workers)
    for worker, clients in enumerate(assign(turn.cohort, costs(turn.steps), workers)):
        places = np.searchsorted(turn.cohort, clients)
        by_worker[worker] = seconds[places].sum()
        counts[worker] = len(clients)
    return Work(by_worker, float(seconds.max()), test, batches), float(counts[by_worker.argmax()])


def end_of_round(work: Work, cluster: Cluster, where: str) -> float:
    """When training and an evaluation have ended on every rank, if `where` says who makes it.

    server: rank 0; personal: the workers alike; auto and all: the ranks to which a run's own rule
    deals the batches, with regard to their training (auto) or without it (all).
    """
    loads = _loads(work, cluster)
    return _end(loads + _tests(work, loads, where), cluster)


def _training(work: Work, cluster: Cluster) -> float:
    """When the training ends, without any test."""
    return _end(_loads(work, cluster), cluster)


def _loads(work: Work, cluster: Cluster) -> np.ndarray:
    """Seconds of training on every rank: f8 [ranks]."""
    if cluster.ranks == 1:
        return work.workers
    return np.concatenate([[0.0], work.workers])


def _tests(work: Work, loads: np.ndarray, where: str) -> np.ndarray:
    """Seconds of the evaluation on every rank: f8 [ranks]."""
    ranks = len(loads)
    if where == "personal" and ranks > 1:
        shares = np.full(ranks, work.test / (ranks - 1))
        shares[0] = 0.0
        return shares
    owners = np.zeros(work.batches, dtype=np.int64)
    of_a_batch = work.test / max(1, work.batches)
    if where in ("auto", "all"):
        before = loads if where == "auto" else np.zeros(ranks)
        owners = deal(work.batches, before, np.full(ranks, of_a_batch))
    return np.bincount(owners, minlength=ranks) * of_a_batch


def _end(seconds: np.ndarray, cluster: Cluster) -> float:
    """When the last node ends, of the work of every rank."""
    by_node = seconds.reshape(cluster.nodes, cluster.ranks_per_node)
    return max(finish(ranks, cluster.at_once) for ranks in by_node)
