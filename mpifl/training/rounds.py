"""The one federated loop: the same text on every rank.

Rank 0 tests the weights that it has just sent while the workers train. Every worker adds up its
clients' weighted replies; one Reduce brings the sums and all figures to rank 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpifl.training.callback import Callback, Checkpointer
from mpifl.training.client_states import ClientStates
from mpifl.training.collector import Collector
from mpifl.training.evaluate import NO_SHARE
from mpifl.training.evaluate_own import evaluator_of
from mpifl.training.experiment import Experiment
from mpifl.training.progress import Progress, RunFailed, Start, first_progress
from mpifl.training.server import Server
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
    evaluator = evaluator_of(experiment, communicator, states)
    server = Server(experiment, communicator, callbacks, evaluator, start)
    worker = Worker(experiment, communicator, evaluator.tester, states)
    collector = Collector(experiment, communicator)

    with communicator.heartbeat.playing():
        while True:
            # Finish the last round: its weights are tested and reported, and it may be the last.
            sent = server.begin_round(checkpointer)
            order = sent.order
            states.commit(order.round)
            if order.checkpoint or order.ends or not evaluator.is_shared:
                server.report(evaluator.whole(sent), last=order.finishes)
                share = NO_SHARE
            else:
                share = evaluator.share(sent)  # the other ranks' shares come with the replies
            if order.checkpoint:
                with communicator.heartbeat.slow():
                    checkpointer.save(server.progress, states, communicator)
            if order.ends:
                return server.end(order.action)

            # Play the next round.
            plan = experiment.plan(order.round + 1, communicator.workers)
            states.fetch(plan)
            received = sent.to(clients.net.device)
            played = worker.play(plan, received, collector.new_sum(plan, received))
            collected = collector.collect(plan, played, share)
            if collected is not None:
                server.report(collected.scores)
                server.finish_round(plan, sent, collected)
