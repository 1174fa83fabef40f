"""The one federated loop: the same text on every rank.

Rank 0 tests the weights it has just sent while the workers train; every worker adds up its clients'
weighted replies, and one Reduce brings the sum, the clients' figures and the test's figures to rank
0.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from mpifl.parallel.exact_sum import Diverged, Message, WeightedSum
from mpifl.training.client import COLUMNS, MEAN_OF
from mpifl.training.client_states import ClientStates, State
from mpifl.training.evaluate import Tester
from mpifl.training.experiment import Callback, Experiment, Keeper, Progress, Start
from mpifl.training.sampling import assign
from mpifl.training.worker import Worker

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator

_GO, _END, _FAIL, _STOP = range(4)
_STOPS, _LEAVES = 1, 2  # a rank's wish: to stop after this round; to stop without it
_WEIGHT, _SECONDS, _FAILED = map(COLUMNS.index, ("weight", "seconds", "failed"))


class RunFailed(RuntimeError):
    """Training went wrong in a way the config does not forgive; on rank 0 the message names round
    and client.
    """


def run(
    x: Experiment,
    communicator: Communicator,
    callback: Callback,
    keeper: Keeper | None = None,
    start: Start | None = None,
) -> Progress:
    """All rounds; returns where the run ended (of which workers know the weights only).

    A signal (see `Pulse`) ends it after the round under way, or before it when that takes too long,
    with a checkpoint: then the progress is `stopped`. Raises RunFailed on every rank when a client
    diverges and the policy is to stop.
    """
    loop = _Loop(x, communicator, callback, keeper or Keeper(), start or Start())
    with communicator.heartbeat.playing():
        while (verdict := loop.send()) == _GO:
            loop.play()
    if verdict == _FAIL:
        raise RunFailed(loop.failure)
    loop.progress.stopped = communicator.heartbeat.reason if verdict == _STOP else ""
    return loop.progress


class _Loop:
    def __init__(
        self,
        x: Experiment,
        communicator: Communicator,
        callback: Callback,
        keeper: Keeper,
        start: Start,
    ) -> None:
        w = x.clients.net.weights.cpu().clone()
        initial = Progress(
            w, x.clients.net.buffers.cpu().clone(), x.clients.algorithm.init_server(w)
        )
        self.x, self.communicator, self.callback, self.keeper = x, communicator, callback, keeper
        self.progress = start.progress or initial
        unseen = x.clients.initial_state(w)
        self.states = ClientStates(
            communicator, unseen, start.states, start.holders, x.states_folder
        )
        self.sent: Message = {}
        self.initial = w
        self.verdict = _GO
        self.reached = start.reached
        self.failure = ""
        self.told = self.settled = True
        self.played = self.progress.round
        self.tester = Tester(
            x.clients.net, x.test, x.evaluation.batch, x.clients.loss, communicator.heartbeat.poll
        )
        self.worker = Worker(x, communicator, self.tester, self.states)

    def send(self) -> int:
        """This round's message to every rank, on its net's device; with it, the server's verdict on
        going on.
        """
        p = self.progress
        self.began, self.moved_before = time.perf_counter(), self.communicator.bytes_moved
        if self.verdict == _GO:
            self.verdict = (
                _END if self._over() else _STOP if self.communicator.heartbeat.reason else _GO
            )
        ending = self.verdict in (_END, _STOP)
        keep = p.round > 0 and self.verdict != _FAIL and self.keeper.due(p, ending)
        message = {**self.x.clients.algorithm.send(p.w, p.server)}
        message["control"] = p.w.new_tensor([self.verdict, keep, p.round])
        if len(p.buffers):
            message["buffers"] = p.buffers
        message = self.communicator.broadcast(message)
        verdict, keep, p.round = map(int, message.pop("control").tolist())
        if not self.communicator.is_server:
            p.w, p.buffers = message["w"], message.get("buffers", p.buffers)
        self.sent = {name: vector.to(self.x.clients.net.device) for name, vector in message.items()}
        self._count(p.round)
        if keep or verdict in (_END, _STOP):
            self._settle(last=verdict == _END)
        if keep:
            with self.communicator.heartbeat.slow():
                self.keeper.keep(p, self.states, self.communicator)
        return verdict

    def _over(self) -> bool:
        """Whether all rounds are done, or the one after that which hit the target accuracy."""
        return self.progress.round >= self.x.rounds or 0 < self.reached < self.progress.round

    def _count(self, round: int) -> None:
        """The server is at `round`: the one just played, or, where that one was left, the one
        before.
        """
        self.states.settle(counts=self.played == round)
        self.settled = self.settled or self.played != round

    def play(self) -> None:
        """Train and evaluate, collect, update."""
        x, p, sent = self.x, self.progress, self.sent
        self.played = round = p.round + 1
        cohort = x.participation.cohort(x.seed, round, len(x.clients))
        plays = assign(cohort, x.clients.costs(cohort), self.communicator.workers)
        self.states.fetch(plays)
        scored = self._evaluate(due=not self.settled and p.round % x.evaluation.every == 0)
        self.settled = False
        try:
            sums = WeightedSum(x.clients.reply_like(sent, self.states.unseen), sent)
        except Diverged as error:
            raise RunFailed(f"round {round}: {error}") from None
        mine = [] if self.communicator.worker is None else plays[self.communicator.worker]
        rows, models, leaves = self.worker.play(round, sent, cohort, mine, sums)
        wishes = np.zeros(self.communicator.size)
        wishes[self.communicator.rank] = (
            _LEAVES if leaves else _STOPS if self.communicator.heartbeat.reason else 0
        )
        waiting = time.perf_counter()
        collected = self.communicator.total(
            sums, np.concatenate([rows.ravel(), scored.ravel(), wishes])
        )
        models = self._collect(models, cohort, plays) if round in x.clients_rounds else None
        if collected is None:
            return
        mean, scalars = collected
        ends = np.cumsum([rows.size, scored.size])
        rows, scored, wishes = map(
            np.reshape, np.split(scalars, ends), (rows.shape, scored.shape, wishes.shape)
        )
        self._tell(scored)
        if wishes.any():
            self.communicator.heartbeat.stop(f"a signal to rank {wishes.argmax()}")
        if (wishes == _LEAVES).any():
            return
        figures = self._figures(round, mean, cohort, plays, rows)
        self._update(round, mean, cohort, rows)
        now = time.perf_counter()
        self.progress.models = models
        self.progress.figures = {
            **figures,
            "seconds": now - self.began,
            "seconds_wait": now - waiting,
        }

    def _settle(self, last: bool) -> None:
        """Complete the last round before the next one begins: evaluate if due, and tell."""
        if self.settled:
            return
        scored = self._evaluate(last or self.progress.round % self.x.evaluation.every == 0, last)
        if self.x.evaluation.where == "shared":
            scored = self.communicator.everywhere(scored)
        self.settled = True
        if self.communicator.is_server:
            self._tell(scored, last)

    def _evaluate(self, due: bool, last: bool = False) -> np.ndarray:
        """This rank's share of the test of the weights just sent: a row a batch, zeros where others
        test.
        """
        x, p, f = self.x, self.progress, self.communicator
        if not due:
            return np.zeros((0, 2))
        shared = x.evaluation.where == "shared" and f.size > 1
        if not shared and not f.is_server:
            return np.zeros((x.evaluation.batches(len(x.test)), 2))
        scored = self.tester.rows(p.w, p.buffers, *((f.rank, f.size) if shared else (0, 1)))
        if not shared and not last:  # complete already: tell now, not at the round's end
            self._tell(scored)
        return scored

    def _collect(
        self, models: dict[int, State], cohort: np.ndarray, plays: list[list[int]]
    ) -> list | None:
        """The cohort's models, in its order, on the server."""
        first = self.communicator.size - self.communicator.workers
        moves = [(c, first + i, 0) for i, play in enumerate(plays) for c in play if first + i]
        self.communicator.move(
            models, {"w": self.progress.w, "buffers": self.progress.buffers}, moves
        )
        return (
            [tuple(models[c].values()) for c in cohort.tolist()]
            if self.communicator.is_server
            else None
        )

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
        share = (
            len(replied) / len(x.clients)
            if x.objective == "uniform"
            else sizes[replied].sum() / sizes.sum()
        )
        means = self._means(
            {name: mean.pop(MEAN_OF + name) for name in x.clients.means}, float(share)
        )
        buffers = (
            x.clients.buffers.decode(mean.pop("buffers"), p.w.dtype)
            if "buffers" in mean
            else p.buffers
        )
        w, server = x.clients.algorithm.server(p.w, p.server, mean, float(share))
        self.progress = Progress(w, buffers, server, round, cohort, rows, means=means)
        self.told = False

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
            self.progress.score = self.tester.total(scored)
            self.progress.scores = {
                name: self.tester.score(w) for name, w in self.progress.means.items()
            }
        self.told = True
        self.callback.finished(self.progress, last)
        target = self.x.evaluation.target_accuracy
        if target and self.progress.score and self.progress.score.accuracy >= target:
            self.reached = self.reached or self.progress.round

    def _figures(
        self, round: int, mean: Message, cohort: np.ndarray, plays: list, rows: np.ndarray
    ) -> dict:
        """What the round cost: bytes as a real federation would send them, and as MPI moved them;
        seconds.
        """
        number, seconds = (
            self.progress.w.element_size(),
            dict(zip(cohort.tolist(), rows[:, _SECONDS], strict=True)),
        )
        replied = (vector for name, vector in mean.items() if not name.startswith(MEAN_OF))
        return {
            "lr": self.x.clients.rate(round),
            "bytes_down": sum(v.numel() for v in self.sent.values()) * number * len(cohort),
            "bytes_up": sum(v.numel() for v in replied) * number * len(cohort),
            "bytes_mpi": self.communicator.bytes_moved - self.moved_before,
            "seconds_train": max(sum(seconds[c] for c in play) for play in plays),
        }


def _why(round: int, cohort: np.ndarray, failed: np.ndarray) -> str:
    first = int(np.flatnonzero(failed)[0])
    what = (
        "its training loss is not finite"
        if failed[first] == 1
        else "its reply is not finite or far too large"
    )
    return (
        f"round {round}, client {cohort[first]}: {what} (so with {np.count_nonzero(failed)} of {len(cohort)} clients "
        f"of the round); try a smaller local.lr, local.clip=10, or divergence=skip"
    )
