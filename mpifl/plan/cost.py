"""What a run costs: bytes of messages, steps, and seconds from measured times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpifl.parallel.exact_sum import Message
from mpifl.plan.dry_run import DryRun
from mpifl.plan.profile import Profile
from mpifl.training import tallies
from mpifl.training.client_rows import Column
from mpifl.training.flops import Flops
from mpifl.training.sampling import assign, costs
from mpifl.training.timetable import Turn

_COHORTS = 8
# with more clients a round, an even split of their steps is as good an estimate as assigning them
MOST_ASSIGNED = 10_000


@dataclass(frozen=True)
class Traffic:
    """Bytes of one round."""

    down: int
    """to one client, in a real federation"""
    up: int
    """from one client, in a real federation"""
    broadcast: int
    """to each rank, in MPI's Bcast"""
    reduce: int
    """from each rank, in MPI's Reduces"""


def size_of(message: Message) -> int:
    """Bytes of all the vectors of a message."""
    return sum(vector.numel() * vector.element_size() for vector in message.values())


def traffic(planned: DryRun, cohort: float) -> Traffic:
    """The bytes of a round of `cohort` clients, without a few bytes of MPI's control words."""
    number = planned.clients.net.weights.element_size()
    reply = planned.reply
    sent = planned.sent.elements() * number
    down = 0
    up = 0
    if planned.config.algorithm.communicates:
        unsent = planned.clients.unsent() * number
        down = sent - unsent
        up = reply.elements() * number - unsent
    summed = sum(vector.numel() for vector in reply.flat().values())
    rows = round(cohort * len(Column) + _scores(planned))
    return Traffic(down, up, sent, (summed + rows) * 8)


def _scores(planned: DryRun) -> float:
    """How many numbers of evaluations a round's Reduce has on average, if all ranks evaluate."""
    evaluation = planned.config.evaluation
    is_personal = planned.config.algorithm.personal
    if evaluation.where == "server" and not is_personal:
        return 0.0
    clients = len(planned.clients)
    classes = planned.data.classes
    domains = len(planned.data.domain_names)
    by_client = tallies.length(clients, classes, domains)
    numbers = 2 * evaluation.batches(planned.data.test) + tallies.length(0, classes, domains)
    if is_personal:
        numbers = by_client
    if planned.data.validation:
        numbers += by_client if is_personal else tallies.length(0, classes, domains)
    if len(planned.held.own.indices):
        numbers += by_client
    scores = numbers / evaluation.every
    if evaluation.train_every:
        scores += by_client / evaluation.train_every
    return scores


@dataclass(frozen=True)
class Load:
    """The work of a round for a number of ranks: means over a few of the run's own cohorts."""

    ranks: int
    cohort: float
    """clients of the round"""
    steps: float
    """minibatches of all its clients"""
    longest: float
    """minibatches of the worker that has the most"""
    clients: float
    """clients of that worker"""


def operations(planned: DryRun, flops: Flops) -> float:
    """Floating-point operations of a round's training: the mean over a few of the run's cohorts."""
    work = planned.clients.work()
    counts = [flops.of_round(work, turn.cohort, turn.steps) for turn in turns(planned)]
    return float(np.mean(counts))


def turns(planned: DryRun) -> list[Turn]:
    """A few of the run's rounds."""
    rounds = planned.config.rounds
    chosen = np.unique(np.linspace(1, rounds, _COHORTS).astype(int))
    return [planned.timetable.turn(round) for round in chosen.tolist()]


def loads(planned: DryRun, ranks: list[int]) -> list[Load]:
    """The work of a round for each number of ranks."""
    rounds = turns(planned)
    size = float(np.mean([len(turn.cohort) for turn in rounds]))
    steps = float(np.mean([turn.steps.sum() for turn in rounds]))
    found = []
    for count in ranks:
        workers = max(1, count - 1)
        longest = np.mean([_longest(turn, workers) for turn in rounds], axis=0)
        found.append(Load(count, size, steps, float(longest[0]), float(longest[1])))
    return found


def _longest(turn: Turn, workers: int) -> tuple[float, float]:
    """Steps and clients of the worker with the most steps."""
    cohort = turn.cohort
    steps = turn.steps
    if workers == 1:
        return steps.sum(), len(cohort)
    if len(cohort) > MOST_ASSIGNED:
        return max(steps.max(), steps.sum() / workers), len(cohort) / workers
    most = (0, 0)
    for clients in assign(cohort, costs(steps), workers):
        own_steps = steps[np.searchsorted(cohort, clients)].sum() if clients else 0
        most = max(most, (int(own_steps), len(clients)))
    return most


@dataclass(frozen=True)
class Tested:
    """The mean round that has an evaluation, in seconds, without MPI and the disk."""

    seconds: float
    alone: float
    """of the evaluation, on one rank"""
    after: float
    """of the evaluation after the last round, when nobody trains"""
    part: float
    """of all work of the round that is evaluation"""
    server_waits: float
    """how long rank 0 waits for the workers"""
    workers_wait: float
    """how long a worker waits, on average"""


def tested(planned: DryRun, measured: Profile, load: Load) -> Tested:
    """A round with an evaluation: who does it as `evaluation.where` says, and who waits."""
    where = planned.config.evaluation.where
    training, test = _training_and_test(planned, measured, load)
    whole = _all_training(planned, measured, load)
    workers = max(1, load.ranks - 1)
    if load.ranks == 1:
        return Tested(whole + test, test, test, test / (whole + test), 0.0, 0.0)
    if planned.config.algorithm.personal:  # on the ranks that hold the clients
        of_server = 0.0
        seconds = training + test / workers
        after = test / workers
    elif where == "all":
        of_server = after = test / load.ranks
        seconds = training + of_server
    elif where == "server":
        of_server = after = test
        seconds = max(training, test)
    else:
        after = test / load.ranks
        seconds = max(training, (whole + test) / load.ranks)
        of_server = min(test, seconds)
    of_workers = (whole + test - of_server) / workers
    part = test / (whole + test)
    waits = max(0.0, seconds - of_server)
    return Tested(seconds, test, after, part, waits, max(0.0, seconds - of_workers))


def seconds(planned: DryRun, measured: Profile, load: Load) -> tuple[float, float]:
    """Seconds of an average round and of the whole run, without MPI and the disk."""
    rounds = planned.config.rounds
    training, _ = _training_and_test(planned, measured, load)
    with_test = tested(planned, measured, load)
    # before the last one, which follows all training
    tests = (rounds - 1) // planned.config.evaluation.every
    total = tests * with_test.seconds + (rounds - tests) * training + with_test.after
    return total / rounds, total


def server_is_last(planned: DryRun, measured: Profile, load: Load) -> bool:
    """Whether the workers wait for the server's test in rounds that have one."""
    training, test = _training_and_test(planned, measured, load)
    on_server = (
        planned.config.evaluation.where == "server" and not planned.config.algorithm.personal
    )
    return load.ranks > 1 and on_server and test > training


def _all_training(planned: DryRun, measured: Profile, load: Load) -> float:
    """Seconds of a round's training on all workers together."""
    return load.cohort * _of_a_client(planned, measured) + load.steps * measured.step


def _of_a_client(planned: DryRun, measured: Profile) -> float:
    """Seconds of a client's round without its steps."""
    evaluation = planned.config.evaluation
    own_test = 0.0
    if evaluation.clients:
        own_test = evaluation.batches(planned.data.test) * measured.evaluation
    return measured.client + own_test


def _training_and_test(planned: DryRun, measured: Profile, load: Load) -> tuple[float, float]:
    """Seconds of the worker with the most steps, and of an average evaluation on one rank."""
    evaluation = planned.config.evaluation
    test = evaluation.batches(planned.data.test) * measured.evaluation
    of_clients = load.clients * _of_a_client(planned, measured)
    training = of_clients + load.longest * measured.step
    if planned.config.algorithm.personal:
        test *= len(planned.held.participants)
    batches = float(evaluation.batches(len(planned.held.own.indices)))
    batches += evaluation.batches(planned.data.validation)
    if evaluation.train_every:
        trained = evaluation.train_samples or len(planned.held.training.indices)
        batches += evaluation.batches(trained) * evaluation.every / evaluation.train_every
    return training, (1 + len(evaluation.models)) * test + batches * measured.evaluation


def of_client_and_test(planned: DryRun, measured: Profile) -> tuple[float, float]:
    """Seconds of a client's round beside its steps, and of an average evaluation on one rank."""
    one_client = Load(ranks=1, cohort=1.0, steps=0.0, longest=0.0, clients=1.0)
    return _training_and_test(planned, measured, one_client)


def stored(planned: DryRun) -> tuple[int, int]:
    """The number of rounds whose weights a run keeps, and the bytes of all its weights on disk."""
    config = planned.config
    net = planned.clients.net
    model = net.weights.nbytes + net.buffers.nbytes
    kept = config.results.weights_rounds(config.rounds)
    kept_clients = config.results.clients_rounds(config.rounds)
    clients = len(kept_clients) * len(planned.cohort(1))
    if not planned.trial.stores_start:
        return len(kept), (len(kept) + clients) * model
    return len(kept) + 1, (len(kept) + 1 + clients) * model + net.frozen.nbytes
