"""What a round takes on a cluster: from steps measured here, the real cohorts, and a network.

    round = Bcast + the longer of (training, the server's test) + Reduce + the server's step

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
    seconds = of_client + turn.steps * measured.step
    if not len(turn.cohort):
        return Work(np.zeros(workers), 0.0, test), 0.0
    if len(turn.cohort) > cost.MOST_ASSIGNED:
        each = max(float(seconds.max()), float(seconds.sum()) / workers)
        return Work(np.full(workers, each), float(seconds.max()), test), len(seconds) / workers
    by_worker = np.zeros(workers)
    counts = np.zeros(workers)
    for worker, clients in enumerate(assign(turn.cohort, costs(turn.steps), workers)):
        places = np.searchsorted(turn.cohort, clients)
        by_worker[worker] = seconds[places].sum()
        counts[worker] = len(clients)
    return Work(by_worker, float(seconds.max()), test), float(counts[by_worker.argmax()])


def _by_rank(work: Work, cluster: Cluster, of_server: float) -> np.ndarray:
    """Seconds of work of every rank: f8 [nodes, ranks of a node]."""
    whole = work.workers
    if cluster.ranks > 1:
        whole = np.concatenate([[of_server], work.workers])
    return whole.reshape(cluster.nodes, cluster.ranks_per_node)


def _end(by_rank: np.ndarray, cluster: Cluster) -> float:
    """When the last node ends."""
    return max(finish(ranks, cluster.at_once) for ranks in by_rank)


def _training(work: Work, cluster: Cluster) -> float:
    """When the training ends, without any test."""
    return _end(_by_rank(work, cluster, 0.0), cluster)


def end_of_round(work: Work, cluster: Cluster, where: str) -> float:
    """When training and an evaluation have ended, by who makes it.

    server: rank 0, while the others train; personal: the workers, after their training; auto: every
    rank that would wait; else all ranks, before they train.
    """
    if cluster.ranks == 1:
        return float(work.workers.sum()) + work.test
    if where == "server":
        return _end(_by_rank(work, cluster, work.test), cluster)
    if where == "personal":
        shares = work._replace(workers=np.full(len(work.workers), work.test / len(work.workers)))
        return _training(work, cluster) + _training(shares, cluster)
    if where != "auto":
        shares = work._replace(workers=np.full(len(work.workers), work.test / cluster.ranks))
        tests = _by_rank(shares, cluster, work.test / cluster.ranks)
        return _training(work, cluster) + _end(tests, cluster)
    by_rank = _by_rank(work, cluster, 0.0)
    return max(_end(_levelled(by_rank, work.test), cluster), _end(by_rank, cluster))


def _levelled(by_rank: np.ndarray, more: float) -> np.ndarray:
    """The work of ranks after `more` was dealt to those that have the least."""
    flat = np.sort(by_rank, axis=None)
    # as water fills a vessel: up to which level are the lowest filled
    filled = np.arange(1, len(flat) + 1) * flat - np.cumsum(flat)
    lowest = int(np.searchsorted(filled, more, side="right"))
    level = (more + flat[:lowest].sum()) / lowest
    return np.maximum(by_rank, level)
