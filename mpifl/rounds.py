"""The one federated loop: the same text on every rank.

Rank 0 tests the weights it has just sent while the workers train; every worker adds up its clients' weighted replies,
and one Reduce brings the sum, the clients' figures and the test's figures to rank 0.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mpifl.clients import COLUMNS, Clients, State
from mpifl.data.batches import Samples
from mpifl.evaluate import Evaluation, Score, evaluate, score
from mpifl.federation import Federation
from mpifl.schedule import Participation, assign, weights
from mpifl.summation import Diverged, Message, WeightedSum

_GO, _END, _FAIL = 1.0, 0.0, -1.0
_WEIGHT, _LOSS, _SECONDS, _FAILED = (COLUMNS.index(name) for name in ("weight", "loss", "seconds", "failed"))


class RunFailed(RuntimeError):
    """Training went wrong in a way the config does not forgive; on rank 0 the message names round and client."""


@dataclass
class Experiment:
    """All that a run needs, built alike on every rank."""

    clients: Clients
    test: Samples
    participation: Participation
    evaluation: Evaluation
    rounds: int
    seed: int
    objective: Literal["samples", "uniform"] = "samples"
    divergence: Literal["stop", "skip", "continue"] = "stop"


@dataclass
class Progress:
    """Where a run stands after a round: all that the next round needs, and what is told of the last."""

    w: Tensor
    """[d], on the host"""
    buffers: Tensor
    """[b], on the host"""
    server: State
    round: int = 0
    cohort: np.ndarray | None = None
    rows: np.ndarray | None = None
    """float64 [cohort, COLUMNS]"""
    figures: dict[str, Any] = field(default_factory=dict)
    """of the round: bytes, seconds ..."""
    score: Score | None = None
    """of `w`, when it was evaluated"""


class Watcher:
    """What is told about a run; the store and the terminal derive from it. Called on rank 0 only."""

    def finished(self, progress: Progress, last: bool) -> None:
        """A round is complete, and so is the evaluation of its weights if one was due."""


def run(x: Experiment, federation: Federation, watcher: Watcher) -> Progress:
    """All rounds; returns where the run ended (of which workers know the weights only).

    Raises RunFailed on every rank when a client diverges and the policy is to stop.
    """
    loop = _Loop(x, federation, watcher)
    while loop.send() == _GO:
        loop.play()
    return loop.end()


class _Loop:
    def __init__(self, x: Experiment, federation: Federation, watcher: Watcher) -> None:
        w = x.clients.net.weights.cpu().clone()
        self.x, self.federation, self.watcher = x, federation, watcher
        self.progress = Progress(w, x.clients.net.buffers.cpu().clone(), x.clients.algorithm.init_server(w))
        self.sent: Message = {}
        self.verdict, self.failure = _GO, ""
        self.told = True
        self.unseen = x.clients.initial_state(w)
        self.states: dict[int, State] = {}
        self.holder: dict[int, int] = {}

    def send(self) -> float:
        """This round's message to every rank, on its net's device; with it, the server's verdict on going on."""
        p = self.progress
        self.began, self.moved_before = time.perf_counter(), self.federation.bytes_moved
        message = {**self.x.clients.algorithm.send(p.w, p.server), "verdict": torch.full_like(p.w[:1], self.verdict)}
        if len(p.buffers):
            message["buffers"] = p.buffers
        message = self.federation.broadcast(message)
        self.verdict = float(message.pop("verdict"))
        if not self.federation.is_server:
            p.w, p.buffers = message["w"], message.get("buffers", p.buffers)
        self.sent = {name: vector.to(self.x.clients.net.device) for name, vector in message.items()}
        return self.verdict

    def play(self) -> None:
        """Train and evaluate, collect, update."""
        x, p, sent = self.x, self.progress, self.sent
        round = p.round + 1
        cohort = x.participation.cohort(x.seed, round, len(x.clients))
        plays = assign(cohort, x.clients.costs(cohort), self.federation.workers)
        self._fetch_states(plays)
        scored = self._evaluate(due=p.round > 0 and p.round % x.evaluation.every == 0)
        try:
            sums = WeightedSum(x.clients.reply_like(sent, self.unseen), sent)
        except Diverged as error:
            raise RunFailed(f"round {round}: {error}") from None
        rows = self._train(round, cohort, plays, sums)
        waiting = time.perf_counter()
        collected = self.federation.total(sums, np.concatenate([rows.ravel(), scored.ravel()]))
        if collected is None:
            p.round = round
            return
        mean, scalars = collected
        rows, scored = scalars[: rows.size].reshape(rows.shape), scalars[rows.size :].reshape(scored.shape)
        self._tell(scored)
        figures = self._figures(round, mean, cohort, plays, rows)
        self._update(round, mean, cohort, rows)
        now = time.perf_counter()
        self.progress.figures = {**figures, "seconds": now - self.began, "seconds_wait": now - waiting}

    def end(self) -> Progress:
        """Evaluate the last weights, on all ranks if they share it, and tell; or raise what made the run fail."""
        if self.verdict == _FAIL:
            raise RunFailed(self.failure)
        scored = self._evaluate(due=True)
        if self.x.evaluation.where == "shared":
            scored = self.federation.everywhere(scored)
        if self.federation.is_server:
            self._tell(scored, last=True)
        return self.progress

    def _fetch_states(self, plays: list[list[int]]) -> None:
        """Bring what clients remember to the ranks that play them now, from those that played them last."""
        if not self.unseen:
            return
        first = self.federation.size - self.federation.workers
        players = {client: first + i for i, play in enumerate(plays) for client in play}
        moves = [(c, self.holder[c], rank) for c, rank in players.items() if self.holder.get(c, rank) != rank]
        self.federation.move(self.states, self.unseen, moves)
        self.holder.update(players)

    def _evaluate(self, due: bool) -> np.ndarray:
        """This rank's share of the test of the weights just sent: a row a batch, zeros where others test."""
        x, p, f = self.x, self.progress, self.federation
        if not due:
            return np.zeros((0, 2))
        shared = x.evaluation.where == "shared" and f.size > 1
        if not shared and not f.is_server:
            return np.zeros((x.evaluation.batches(len(x.test)), 2))
        x.clients.net.load(p.w, p.buffers)
        scored = evaluate(x.clients.net, x.test, x.evaluation.batch, f.rank if shared else 0, f.size if shared else 1)
        if not shared and self.verdict == _GO:  # complete already: tell now, not at the round's end
            self._tell(scored)
        return scored

    def _train(self, round: int, cohort: np.ndarray, plays: list[list[int]], sums: WeightedSum) -> np.ndarray:
        """Play this rank's clients; their rows of `[cohort, COLUMNS]`, zero elsewhere."""
        x, rows = self.x, np.zeros((len(cohort), len(COLUMNS)))
        shares = weights(x.objective, x.clients.sizes[cohort])
        for client in [] if self.federation.worker is None else plays[self.federation.worker]:
            i = int(np.searchsorted(cohort, client))
            try:
                reply, own, rows[i] = x.clients.play(client, round, self.sent, self.states.get(client, self.unseen))
            except Exception as error:
                error.add_note(f"rank {self.federation.rank}, round {round}, client {client}")
                raise
            rows[i, _WEIGHT] = shares[i]
            rows[i, _FAILED] = self._add(sums, reply, shares[i], rows[i, _LOSS])
            if self.unseen and not rows[i, _FAILED]:
                self.states[client] = own
        return rows

    def _add(self, sums: WeightedSum, reply: Message, weight: float, loss: float) -> float:
        if not np.isfinite(loss) and self.x.divergence != "continue":
            return 1.0
        try:
            sums.add(reply, weight)
        except Diverged:
            return 2.0
        return 0.0

    def _update(self, round: int, mean: Message, cohort: np.ndarray, rows: np.ndarray) -> None:
        """The server's step; or, where clients failed, what the policy says."""
        x, p, failed = self.x, self.progress, rows[:, _FAILED]
        if failed.any():
            kept = rows[failed == 0, _WEIGHT].sum()
            if x.divergence == "stop" or kept == 0:
                self.verdict, self.failure = _FAIL, _why(round, cohort, failed)
                return
            mean = {name: vector / kept for name, vector in mean.items()}
        buffers = x.clients.buffers.decode(mean.pop("buffers"), p.w.dtype) if "buffers" in mean else p.buffers
        w, server = x.clients.algorithm.server(p.w, p.server, mean, len(cohort) / len(x.clients))
        self.progress = Progress(w, buffers, server, round, cohort, rows)
        self.told = False
        if round == x.rounds:
            self.verdict = _END

    def _tell(self, scored: np.ndarray, last: bool = False) -> None:
        """Report the last round, with its score if it was evaluated; once."""
        if self.told:
            return
        if len(scored):
            self.progress.score = score(scored, len(self.x.test))
        self.told = True
        self.watcher.finished(self.progress, last)
        target = self.x.evaluation.target_accuracy
        if target and self.progress.score and self.progress.score.accuracy >= target:
            self.verdict = _END

    def _figures(self, round: int, mean: Message, cohort: np.ndarray, plays: list, rows: np.ndarray) -> dict:
        """What the round cost: bytes as a real federation would send them, and as MPI moved them; seconds."""
        number = self.progress.w.element_size()
        seconds = dict(zip(cohort.tolist(), rows[:, _SECONDS], strict=True))
        return {
            "lr": self.x.clients.rate(round),
            "bytes_down": sum(v.numel() for v in self.sent.values()) * number * len(cohort),
            "bytes_up": sum(v.numel() for v in mean.values()) * number * len(cohort),
            "bytes_mpi": self.federation.bytes_moved - self.moved_before,
            "seconds_train": max(sum(seconds[c] for c in play) for play in plays),
        }


def _why(round: int, cohort: np.ndarray, failed: np.ndarray) -> str:
    first = int(np.flatnonzero(failed)[0])
    what = "its training loss is not finite" if failed[first] == 1 else "its reply is not finite or far too large"
    return (
        f"round {round}, client {cohort[first]}: {what} (so with {np.count_nonzero(failed)} of {len(cohort)} clients "
        f"of the round); try a smaller local.lr, local.clip=10, or divergence=skip"
    )
