"""The one federated loop: the same text on every rank.

Rank 0 tests the weights it has just sent while the workers train; every worker adds up its clients' weighted replies,
and one Reduce brings the sum, the clients' figures and the test's figures to rank 0.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from mpifl.clients import COLUMNS, MEAN_OF, Clients
from mpifl.data.batches import Samples
from mpifl.evaluate import Evaluation, Score, evaluate, score
from mpifl.schedule import Participation, assign, weights
from mpifl.states import ClientStates, State
from mpifl.summation import Diverged, Message, WeightedSum

if TYPE_CHECKING:
    from mpifl.federation import Federation

_GO, _END, _FAIL = 1.0, 0.0, -1.0
_WEIGHT, _LOSS, _SECONDS = map(COLUMNS.index, ("weight", "loss", "seconds"))
_FAILED, _TESTED = map(COLUMNS.index, ("failed", "test_accuracy"))


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
    clients_every: int = 0
    """rounds between those whose clients' models are brought to the server; 0: never"""


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
    models: list[tuple[Tensor, Tensor]] | None = None
    """weights and buffers of the cohort's clients after training, in rounds that keep them"""
    score: Score | None = None
    """of `w`, when it was evaluated"""
    means: dict[str, Tensor] = field(default_factory=dict)
    """weights [d] that are means of local models, to be tested too"""
    scores: dict[str, Score] = field(default_factory=dict)
    """of `means`"""


class Watcher:
    """What is told about a run, on rank 0; the store and the terminal derive from it."""

    def finished(self, progress: Progress, last: bool) -> None:
        """A round is complete, and so is the evaluation of its weights if one was due."""


class Keeper:
    """Keeps checkpoints, on every rank; this one keeps none."""

    def due(self, progress: Progress) -> bool:
        """Whether the server wants one now."""
        return False

    def keep(self, progress: Progress, states: ClientStates, federation: Federation) -> None:
        """Write one: all ranks together, before the round after `progress`."""


@dataclass
class Start:
    """Where a run begins: the round it goes on from, and what was kept of it."""

    progress: Progress | None = None
    """None: from the initial weights"""
    states: dict[int, State] = field(default_factory=dict)
    """what clients remember that this rank holds"""
    holders: dict[int, int] = field(default_factory=dict)
    """client -> rank, the same on all ranks"""


def run(
    x: Experiment,
    federation: Federation,
    watcher: Watcher,
    keeper: Keeper | None = None,
    start: Start | None = None,
) -> Progress:
    """All rounds; returns where the run ended (of which workers know the weights only).

    Raises RunFailed on every rank when a client diverges and the policy is to stop.
    """
    loop = _Loop(x, federation, watcher, keeper or Keeper(), start or Start())
    while (verdict := loop.send()) == _GO:
        loop.play()
    if verdict == _FAIL:
        raise RunFailed(loop.failure)
    return loop.progress


class _Loop:
    def __init__(self, x: Experiment, federation: Federation, watcher: Watcher, keeper: Keeper, start: Start) -> None:
        w = x.clients.net.weights.cpu().clone()
        initial = Progress(w, x.clients.net.buffers.cpu().clone(), x.clients.algorithm.init_server(w))
        self.x, self.federation, self.watcher, self.keeper = x, federation, watcher, keeper
        self.progress = start.progress or initial
        self.states = ClientStates(federation, x.clients.initial_state(w), start.states, start.holders)
        self.sent: Message = {}
        self.initial = w
        self.verdict = _END if self.progress.round >= x.rounds else _GO
        self.failure = ""
        self.told = self.settled = True

    def send(self) -> float:
        """This round's message to every rank, on its net's device; with it, the server's verdict on going on."""
        p = self.progress
        self.began, self.moved_before = time.perf_counter(), self.federation.bytes_moved
        keep = p.round > 0 and self.verdict != _FAIL and (self.keeper.due(p) or self.verdict == _END)
        message = {**self.x.clients.algorithm.send(p.w, p.server), "control": p.w.new_tensor([self.verdict, keep])}
        if len(p.buffers):
            message["buffers"] = p.buffers
        message = self.federation.broadcast(message)
        verdict, keep = message.pop("control").tolist()
        if not self.federation.is_server:
            p.w, p.buffers = message["w"], message.get("buffers", p.buffers)
        self.sent = {name: vector.to(self.x.clients.net.device) for name, vector in message.items()}
        if keep:
            self._settle(last=verdict == _END)
            self.keeper.keep(p, self.states, self.federation)
        return verdict

    def play(self) -> None:
        """Train and evaluate, collect, update."""
        x, p, sent = self.x, self.progress, self.sent
        round = p.round + 1
        cohort = x.participation.cohort(x.seed, round, len(x.clients))
        plays = assign(cohort, x.clients.costs(cohort), self.federation.workers)
        self.states.fetch(plays)
        scored = self._evaluate(due=not self.settled and p.round % x.evaluation.every == 0)
        self.settled = False
        try:
            sums = WeightedSum(x.clients.reply_like(sent, self.states.unseen), sent)
        except Diverged as error:
            raise RunFailed(f"round {round}: {error}") from None
        rows, models = self._train(round, cohort, plays, sums)
        waiting = time.perf_counter()
        collected = self.federation.total(sums, np.concatenate([rows.ravel(), scored.ravel()]))
        models = self._collect(models, cohort, plays) if self._keeps_models(round) else None
        if collected is None:
            p.round = round
            return
        mean, scalars = collected
        rows, scored = scalars[: rows.size].reshape(rows.shape), scalars[rows.size :].reshape(scored.shape)
        self._tell(scored)
        figures = self._figures(round, mean, cohort, plays, rows)
        self._update(round, mean, cohort, rows)
        now = time.perf_counter()
        self.progress.models = models
        self.progress.figures = {**figures, "seconds": now - self.began, "seconds_wait": now - waiting}

    def _settle(self, last: bool) -> None:
        """Complete the last round before the next one begins: evaluate if due, and tell."""
        if self.settled:
            return
        scored = self._evaluate(last or self.progress.round % self.x.evaluation.every == 0, last)
        if self.x.evaluation.where == "shared":
            scored = self.federation.everywhere(scored)
        self.settled = True
        if self.federation.is_server:
            self._tell(scored, last)

    def _evaluate(self, due: bool, last: bool = False) -> np.ndarray:
        """This rank's share of the test of the weights just sent: a row a batch, zeros where others test."""
        x, p, f = self.x, self.progress, self.federation
        if not due:
            return np.zeros((0, 2))
        shared = x.evaluation.where == "shared" and f.size > 1
        if not shared and not f.is_server:
            return np.zeros((x.evaluation.batches(len(x.test)), 2))
        net, forward = x.clients.net, x.clients.loss.evaluated(x.clients.net.module)
        net.load(p.w, p.buffers)
        share, shares = (f.rank, f.size) if shared else (0, 1)
        scored = evaluate(net, x.test, x.evaluation.batch, share, shares, forward)
        if not shared and not last:  # complete already: tell now, not at the round's end
            self._tell(scored)
        return scored

    def _train(
        self, round: int, cohort: np.ndarray, plays: list[list[int]], sums: WeightedSum
    ) -> tuple[np.ndarray, dict[int, State]]:
        """Play this rank's clients: their rows of `[cohort, COLUMNS]`, zero elsewhere, and their models if kept."""
        x, rows, models = self.x, np.zeros((len(cohort), len(COLUMNS))), {}
        shares = weights(x.objective, x.clients.sizes[cohort])
        for client in [] if self.federation.worker is None else plays[self.federation.worker]:
            i = int(np.searchsorted(cohort, client))
            before = self.states.of(client)
            try:
                played = x.clients.play(client, round, self.sent, before)
            except Exception as error:
                error.add_note(f"rank {self.federation.rank}, round {round}, client {client}")
                raise
            rows[i] = played.row
            rows[i, _WEIGHT] = shares[i]
            if x.evaluation.clients:
                rows[i, _TESTED] = self._score(played.model[0]).accuracy
            rows[i, _FAILED] = self._add(sums, played.reply, shares[i], rows[i, _LOSS])
            self.states.keep(client, before if rows[i, _FAILED] else played.state)
            if self._keeps_models(round):
                models[client] = {"w": played.model[0].cpu(), "buffers": played.model[1].cpu().clone()}
        return rows, models

    def _add(self, sums: WeightedSum, reply: Message, weight: float, loss: float) -> float:
        if not np.isfinite(loss) and self.x.divergence != "continue":
            return 1.0
        try:
            sums.add(reply, weight)
        except Diverged:
            return 2.0
        return 0.0

    def _keeps_models(self, round: int) -> bool:
        every = self.x.clients_every
        return bool(every) and (round % every == 0 or round == self.x.rounds)

    def _collect(self, models: dict[int, State], cohort: np.ndarray, plays: list[list[int]]) -> list | None:
        """The cohort's models, in its order, on the server."""
        first = self.federation.size - self.federation.workers
        moves = [(c, first + i, 0) for i, play in enumerate(plays) for c in play if first + i]
        self.federation.move(models, {"w": self.progress.w, "buffers": self.progress.buffers}, moves)
        return [tuple(models[c].values()) for c in cohort.tolist()] if self.federation.is_server else None

    def _update(self, round: int, mean: Message, cohort: np.ndarray, rows: np.ndarray) -> None:
        """The server's step; or, where clients failed, what the policy says."""
        x, p, failed, sizes = self.x, self.progress, rows[:, _FAILED], self.x.clients.sizes
        if failed.any():
            kept = rows[failed == 0, _WEIGHT].sum()
            if x.divergence == "stop" or kept == 0:
                self.verdict, self.failure = _FAIL, _why(round, cohort, failed)
                return
            mean = {name: vector / kept for name, vector in mean.items()}
        replied = cohort[failed == 0]
        share = len(replied) / len(x.clients) if x.objective == "uniform" else sizes[replied].sum() / sizes.sum()
        means = self._means({name: mean.pop(MEAN_OF + name) for name in x.clients.means}, float(share))
        buffers = x.clients.buffers.decode(mean.pop("buffers"), p.w.dtype) if "buffers" in mean else p.buffers
        w, server = x.clients.algorithm.server(p.w, p.server, mean, float(share))
        self.progress = Progress(w, buffers, server, round, cohort, rows, means=means)
        self.told = False
        if round == x.rounds:
            self.verdict = _END

    def _means(self, parts: dict[str, Tensor], share: float) -> dict[str, Tensor]:
        """The cohort's mean as it came; the mean over all clients moved by the cohort's part of it."""
        if "all" in parts:
            parts["all"] = self.progress.means.get("all", self.initial) + share * parts["all"]
        return parts

    def _tell(self, scored: np.ndarray, last: bool = False) -> None:
        """Report the last round, with its score if it was evaluated; once."""
        if self.told:
            return
        if len(scored):
            self.progress.score = score(scored, len(self.x.test))
            self.progress.scores = {name: self._score(w) for name, w in self.progress.means.items()}
        self.told = True
        self.watcher.finished(self.progress, last)
        target = self.x.evaluation.target_accuracy
        if target and self.progress.score and self.progress.score.accuracy >= target:
            self.verdict = _END

    def _score(self, w: Tensor) -> Score:
        net = self.x.clients.net
        net.load(w)
        forward = self.x.clients.loss.evaluated(net.module)
        return score(evaluate(net, self.x.test, self.x.evaluation.batch, forward=forward), len(self.x.test))

    def _figures(self, round: int, mean: Message, cohort: np.ndarray, plays: list, rows: np.ndarray) -> dict:
        """What the round cost: bytes as a real federation would send them, and as MPI moved them; seconds."""
        number = self.progress.w.element_size()
        seconds = dict(zip(cohort.tolist(), rows[:, _SECONDS], strict=True))
        return {
            "lr": self.x.clients.rate(round),
            "bytes_down": sum(v.numel() for v in self.sent.values()) * number * len(cohort),
            "bytes_up": sum(v.numel() for k, v in mean.items() if not k.startswith(MEAN_OF)) * number * len(cohort),
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
