"""The one federated loop: the same text on every rank.

The weights that were just sent are tested while the workers train: by rank 0, and by workers that
would wait for it. Every worker adds up its clients' weighted replies; Reduces bring the sums
and all figures to rank 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from mpifl.training.callback import Callback, Checkpointer
from mpifl.training.client_states import ClientStates
from mpifl.training.collector import Collector
from mpifl.training.evaluate_own import evaluator_of
from mpifl.training.evaluator import NO_SHARE
from mpifl.training.experiment import Experiment
from mpifl.training.progress import Progress, RunFailed, Start, first_progress
from mpifl.training.server import Server
from mpifl.training.timeline import Kind, Stopwatch
from mpifl.training.worker import Worker

if TYPE_CHECKING:
    from mpifl.parallel.communicator import Communicator

__all__ = ["RunFailed", "run"]


def run(
    experiment: Experiment,
    communicator: Communicator,
    callbacks: Sequence[Callback] = (),
    checkpointer: Checkpointer | None = None,
    start: Start | None = None,
) -> Progress:
    """Play all rounds; every rank calls it. Returns how the run stands at its end.

    A signal ends it after the round under way, or before it when that takes too long, with a
    checkpoint: then the progress is `stopped`. A test that takes too long is left, and done when
    the run is resumed. Raises RunFailed on every rank when a client diverges and `divergence` is
    "stop".
    """
    clients = experiment.clients
    checkpointer = checkpointer or Checkpointer()
    start = start or Start(first_progress(experiment))
    states = ClientStates(
        communicator,
        clients.initial_state(clients.net.weights.cpu()),
        start.states,
        start.holders,
        experiment.states_folder,
    )
    stopwatch = Stopwatch(communicator)
    evaluator = evaluator_of(experiment, communicator, states, stopwatch)
    server = Server(experiment, communicator, callbacks, evaluator, start, stopwatch)
    worker = Worker(experiment, communicator, evaluator.tester, states, stopwatch)
    collector = Collector(experiment, communicator, stopwatch)

    with communicator.heartbeat.playing(), closing(worker):
        while True:
            # Finish the last round: its weights are tested and reported, and it may be the last.
            sent = server.begin_round(checkpointer)
            order = sent.order
            states.commit(order.round)
            if order.checkpoint or order.ends:
                scores = evaluator.whole(sent, server.progress.means)
                if order.ends:
                    server.add_time(collector.spent_after_all())
                server.report(scores, last=order.finishes)
            if order.checkpoint:
                with communicator.heartbeat.slow(), stopwatch.spending(Kind.WRITE):
                    checkpointer.save(server.progress, states, communicator)
            if order.ends:
                return server.end(order.action)

            # Play the next round.
            plan = experiment.plan(order.round + 1, communicator.workers)
            share = NO_SHARE
            if not order.checkpoint:
                share = evaluator.share(sent, plan, server.progress.means)
            if share.is_whole:
                server.report(share.scores)
                share = NO_SHARE  # else the other ranks' shares come with the replies
            states.fetch(plan)
            received = sent.to(clients.net.device)
            played = worker.play(plan, received, collector.new_sum(plan, received))
            collected = collector.collect(plan, played, share)
            if collected is not None:
                server.report_later(collected.scores)
                server.finish_round(plan, sent, collected)
