"""`mpifl plan`: print what a run sends, computes and holds: messages, operations, memory."""

from __future__ import annotations

from collections.abc import Iterable

from mpifl.net import trained
from mpifl.plan import cost, memory
from mpifl.plan.dry_run import DryRun
from mpifl.plan.profile import Profile
from mpifl.terminal import average_of, facts, operations, plural, say_table, size
from mpifl.training.flops import Flops


def show_messages(planned: DryRun, load: cost.Load) -> None:
    """Print what is sent, remembered and stored."""
    net = planned.clients.net
    config = planned.config
    traffic = cost.traffic(planned, load.cohort)
    state = planned.state.flat()
    rounds_kept, written = cost.stored(planned)
    down = traffic.down * load.cohort
    up = traffic.up * load.cohort
    whole = (down + up) * config.rounds
    remembered = f"{size(cost.size_of(state))}: {_names(state)}" if state else "nothing"
    made = facts()
    made.add_row("model", f"{config.model.name}: {trained(net)}, {size(net.weights.nbytes)}")
    made.add_row("its buffers", f"{len(net.buffers):,} numbers, {size(net.buffers.nbytes)}")
    made.add_row("to a client", f"{size(traffic.down)} a round: {_names(planned.sent.vectors())}")
    made.add_row("from a client", f"{size(traffic.up)} a round: {_names(planned.reply.flat())}")
    made.add_row(
        "a real federation", f"{size(down)} down, {size(up)} up a round; {size(whole)} in all"
    )
    made.add_row(
        "MPI, a rank",
        f"{size(traffic.broadcast)} in a Bcast, {size(traffic.reduce)} in a Reduce; "
        "nothing with one rank",
    )
    made.add_row("a client remembers", remembered)
    made.add_row("on disk", f"{size(written)} of weights, of {plural(rounds_kept, 'round')}")
    say_table(f"messages of a round of {average_of(load.cohort, 'client')}", made)


def show_operations(planned: DryRun, counted: Flops, load: cost.Load) -> None:
    """Print what training computes and holds."""
    mean = f", mean over {counted.draws} draws" if counted.draws > 1 else ""
    passes = counted.step / counted.batch / counted.forward if counted.forward else 0.0
    of_round = cost.operations(planned, counted)
    trained_numbers = len(planned.clients.net.weights)
    made = facts()
    made.add_row("a forward pass", f"{operations(counted.forward)} a sample")
    made.add_row(
        "a training step",
        f"{operations(counted.step)} on {plural(counted.batch, 'sample')}{mean}: {passes:.3g} "
        "forward passes a sample",
    )
    made.add_row(
        "a round",
        f"{operations(of_round)} of training; "
        f"{operations(of_round * planned.config.rounds)} in {planned.config.rounds:,} rounds",
    )
    made.add_row(
        "a client holds",
        f"{counted.held:,} numbers in training, of which {trained_numbers:,} train",
    )
    say_table(f"operations of a round of {average_of(load.cohort, 'client')}", made)


def _names(vectors: Iterable[str]) -> str:
    """Vectors in words: the algorithm's by the names that it gave them."""
    return ", ".join(name.removeprefix("algorithm.") for name in vectors)


def memory_of_a_rank(
    planned: DryRun, measured: Profile | None, ranks: int, process: int, peak: int
) -> list[tuple[str, int]]:
    """The parts of a rank's memory and their bytes.

    `process` and `peak` are the memory of this process before and after the measurement, in bytes;
    0 if unknown.
    """
    lanes = planned.config.runtime.lanes
    rows = list(memory.memory(planned, measured, ranks, 1 if lanes == "auto" else lanes))
    if process:
        rows.append(("Python and its libraries (measured)", process))
    data = 0 if planned.config.data.path else planned.data.bytes
    rest = peak - data - sum(count for _, count in rows)
    if rest > 0:
        rows.append(("Other peak memory: a batch of the test, workspaces (measured)", rest))
    return rows


def show_memory(
    planned: DryRun,
    rows: list[tuple[str, int]],
    measured: Profile | None,
    ranks: int,
    cohort: float,
    nodes: int = 1,
) -> None:
    """Print the memory of one rank, whose parts are `rows`, and of a node of `ranks` ranks.

    What clients remember is spread over the `nodes`. Only where a step was `measured`, `rows` has
    what it keeps.
    """
    rank = sum(count for _, count in rows)
    data = planned.data.bytes
    server = cost.size_of(planned.server)
    states = memory.remembered(planned, cohort)
    folder = planned.config.runtime.states_folder
    made = facts()
    for name, count in rows:
        made.add_row(name, size(count))
    made.add_row("a rank" if measured else "a rank, without activations", size(rank))
    if planned.config.runtime.lanes == "auto":
        of_a_lane = memory.memory_of_a_lane(planned, measured)
        made.add_row("each lane, where runtime.lanes = auto chooses several", size(of_a_lane))
    made.add_row("the data set, once a node (and on every GPU)", size(data))
    if server:
        made.add_row("what the server remembers", size(server))
    if states:
        where = f"on disk, in {folder}" if folder else "spread over the nodes"
        made.add_row(f"what all clients remember, and copies of a round's, {where}", size(states))
    node = ranks * rank + data + server
    if not folder:
        node += states // nodes
    lanes = ", of one lane each" if planned.config.runtime.lanes == "auto" else ""
    made.add_row(f"a node of {plural(ranks, 'rank')}{lanes}", size(node))
    say_table("memory", made)
