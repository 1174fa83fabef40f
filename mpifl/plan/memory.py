"""How much memory a rank takes, and what clients remember."""

from __future__ import annotations

from collections.abc import Iterator

from mpifl.parallel.exact_sum import BLOCK, BLOCK_READ
from mpifl.plan import cost
from mpifl.plan.dry_run import DryRun
from mpifl.plan.profile import Profile
from mpifl.training.optimizers import AdamW


def memory(
    planned: DryRun, profile: Profile | None, ranks: int, lanes: int
) -> Iterator[tuple[str, int]]:
    """The parts of a rank's memory in words, and their bytes; without the Python process itself.

    The rank trains `lanes` clients at once.
    """
    net = planned.clients.net
    reply = planned.reply.flat()
    values = sum(vector.numel() for vector in reply.values())
    weights = net.weights.nbytes
    buffers = net.buffers.nbytes
    # With several lanes, each has a net of its own, and tests have the rank's.
    nets = 1 if lanes == 1 else 1 + lanes
    yield "weights, gradient, buffers" + _times(nets), nets * (2 * weights + buffers)
    if len(net.frozen):
        yield "frozen weights" + _times(nets), nets * net.frozen.nbytes
    yield (
        "the round's message and the last",
        cost.size_of(planned.sent.vectors()) + weights + buffers,
    )
    yield "a client's reply" + _times(lanes), lanes * cost.size_of(reply)
    if planned.config.local.momentum:
        yield "its momentum" + _times(lanes), lanes * weights
    if isinstance(planned.config.local.optimizer, AdamW):
        yield "its moments" + _times(lanes), lanes * 2 * weights
    yield "sum of replies, int64", 8 * values
    yield "scratch of the sum, float64", 8 * min(BLOCK, values)
    if ranks > 1:
        yield "buffer of the Reduce, int64", 8 * min(BLOCK_READ * (ranks - 1), values)
    state = planned.state.flat()
    if state:
        yield "state of the client at work" + _times(lanes), lanes * cost.size_of(state)
    if profile:
        of_a_step = f"activations of a step of {profile.batch} (measured)"
        yield of_a_step + _times(lanes), lanes * profile.activations


def memory_of_a_lane(planned: DryRun, profile: Profile | None) -> int:
    """Bytes that a lane takes beside several others."""
    two = sum(count for _, count in memory(planned, profile, ranks=1, lanes=2))
    three = sum(count for _, count in memory(planned, profile, ranks=1, lanes=3))
    return three - two


def _times(lanes: int) -> str:
    return "" if lanes == 1 else f", {lanes} times"


def remembered(planned: DryRun, cohort: float) -> int:
    """Bytes of all clients' states after each has played.

    Those of a round's `cohort` exist twice until the round is complete.
    """
    return round(cost.size_of(planned.state.flat()) * (len(planned.clients) + cohort))
