"""What a run costs, computed without running it: messages, memory, steps and, from measured times,
seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mpifl.parallel.exact_sum import BLOCK, Message
from mpifl.plan.dry_run import DryRun
from mpifl.plan.profile import Profile
from mpifl.training.client import COLUMNS
from mpifl.training.evaluate import Evaluation
from mpifl.training.sampling import assign

_COHORTS = 8
# beyond so many clients a round, the evenest split is as good as the one that is dealt
_DEALT_OUT = 10_000


@dataclass(frozen=True)
class Traffic:
    """Bytes of one round."""

    down: int
    """to one client, as a real federation would send them"""
    up: int
    """from one client"""
    broadcast: int
    """of MPI's Bcast, to each rank"""
    reduce: int
    """of MPI's Reduce, from each rank"""


def size_of(message: Message) -> int:
    """Bytes of all the vectors of a message."""
    return sum(vector.numel() * vector.element_size() for vector in message.values())


def traffic(planned: DryRun, cohort: float) -> Traffic:
    """The bytes of a round of `cohort` clients; a few more make up MPI's control words."""
    number = planned.clients.net.weights.element_size()
    reply = planned.reply
    down = planned.sent.elements() * number
    up = reply.elements() * number
    summed = sum(vector.numel() for vector in reply.flat().values())
    rows = round(cohort * len(COLUMNS) + _scores(planned.config.evaluation, planned.data.test))
    return Traffic(down, up, down, (summed + rows) * 8)


def _scores(evaluation: Evaluation, test_samples: int) -> float:
    """How many numbers of the test's a round's Reduce carries, on average: where ranks share it."""
    if evaluation.where == "server":
        return 0.0
    return 2 * evaluation.batches(test_samples) / evaluation.every


def memory(planned: DryRun, profile: Profile | None, ranks: int) -> Iterator[tuple[str, int]]:
    """What a rank keeps, in words and bytes; the Python process itself left out."""
    net, local, reply = planned.clients.net, planned.config.local, planned.reply.flat()
    values = sum(vector.numel() for vector in reply.values())
    d, b = net.weights.nbytes, net.buffers.nbytes
    yield "weights, gradient, buffers", 2 * d + b
    yield "the round's message and the last", size_of(planned.sent.vectors()) + d + b
    yield "a client's reply", size_of(reply)
    if local.momentum:
        yield "its momentum", d
    yield "sum of replies, int64", 8 * values
    yield "scratch of the sum, float64", 8 * min(BLOCK, values)
    if ranks > 1:
        yield "buffer of the Reduce, int64", 8 * values
    state = planned.state.flat()
    if state:
        yield "state of the client at work", size_of(state)
    if profile:
        yield f"activations of a step of {profile.batch} (measured)", profile.activations


def remembered(planned: DryRun, cohort: float) -> int:
    """Bytes of all clients' states, once each has played; those of a round's `cohort` twice, until
    the round counts.
    """
    return round(size_of(planned.state.flat()) * (len(planned.clients) + cohort))


@dataclass(frozen=True)
class Load:
    """The work of a round, with a given number of ranks; means over a few of the run's own cohorts."""

    ranks: int
    cohort: float
    """clients"""
    steps: float
    """minibatches of all clients"""
    longest: float
    """minibatches of the worker with the most"""
    clients: float
    """how many clients that worker plays"""


def loads(planned: DryRun, ranks: list[int]) -> list[Load]:
    """The work of a round for each number of ranks."""
    config = planned.config
    rounds = np.unique(np.linspace(1, config.rounds, _COHORTS).astype(int)).tolist()
    cohorts = [config.participation.cohort(config.seed, round, config.clients) for round in rounds]
    size = float(np.mean([len(cohort) for cohort in cohorts]))
    steps = float(np.mean([planned.clients.steps(cohort).sum() for cohort in cohorts]))
    means = (
        np.mean([_longest(planned, cohort, max(1, n - 1)) for cohort in cohorts], axis=0)
        for n in ranks
    )
    return [Load(n, size, steps, *map(float, mean)) for n, mean in zip(ranks, means, strict=True)]


def _longest(planned: DryRun, cohort: np.ndarray, workers: int) -> tuple[float, float]:
    """Steps and clients of the worker with the most steps."""
    steps = planned.clients.steps(cohort)
    if workers == 1:
        return steps.sum(), len(cohort)
    if len(cohort) > _DEALT_OUT:
        return max(steps.max(), steps.sum() / workers), len(cohort) / workers
    plays = assign(cohort, planned.clients.costs(cohort), workers)
    work = [(int(steps[np.searchsorted(cohort, play)].sum()), len(play)) for play in plays if play]
    return max(work)


def seconds(planned: DryRun, measured: Profile, load: Load) -> tuple[float, float]:
    """Seconds of a mean round and of the whole run, without what MPI and the disk take."""
    e, rounds = planned.config.evaluation, planned.config.rounds
    training, test = _training_and_test(planned, measured, load)
    if load.ranks == 1 or e.where == "shared":
        test /= load.ranks
        tested = training + test
    else:
        tested = max(training, test)
    tests = (rounds - 1) // e.every  # beside the last round's, which comes after all training
    total = tests * tested + (rounds - tests) * training + test
    return total / rounds, total


def server_is_last(planned: DryRun, measured: Profile, load: Load) -> bool:
    """Whether the workers wait for the server's test, in rounds that have one."""
    training, test = _training_and_test(planned, measured, load)
    return load.ranks > 1 and planned.config.evaluation.where == "server" and test > training


def _training_and_test(planned: DryRun, measured: Profile, load: Load) -> tuple[float, float]:
    """Seconds of the longest worker, and of the whole test on one rank."""
    e = planned.config.evaluation
    one = e.batches(planned.data.test) * measured.evaluation
    training = load.clients * (measured.client + e.clients * one) + load.longest * measured.step
    return training, (1 + len(e.models)) * one


def stored(planned: DryRun) -> tuple[int, int]:
    """How many rounds' weights a run keeps, and bytes of all the weights on disk."""
    keep, rounds, net = planned.config.results, planned.config.rounds, planned.clients.net
    model = net.weights.nbytes + net.buffers.nbytes
    kept, clients = keep.weights_rounds(rounds), keep.clients_rounds(rounds)
    cohort = len(
        planned.config.participation.cohort(planned.config.seed, 1, planned.config.clients)
    )
    return len(kept), len(kept) * model + len(clients) * cohort * model
