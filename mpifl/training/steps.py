"""Which gradients of local steps are replayed (`runtime.graphs`), and which are made anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mpifl.losses.loss import Loss, Sum, Wrapper
from mpifl.net import Net
from mpifl.terminal import say
from mpifl.training.gradients import Gradient
from mpifl.training.replay import CudaGraph, Differs, Function, recorded

Graphs = Literal["auto", "yes", "no"]

_SMALL = 100_000
"""parameters: on a CPU, a larger network's kernels take much longer than what is between them"""
_BEFORE = 2
"""batches of a shape that are not replayed: a shape that is rare is not worth a recording"""
_MOST_GRAPHS = 32
"""of one net on a GPU: each takes its memory"""
_MOST_RECORDINGS = 128
"""of one net on a CPU: each takes up to a megabyte"""
_MOST_SEEN = 1000
"""kinds of steps that are counted: an algorithm's pull may be another one in each round"""


class Taken(NamedTuple):
    """What a step takes from its minibatch."""

    gradient: Tensor
    """[d], with the algorithm's terms, clipped"""
    loss: Tensor
    correct: Tensor


class Replays:
    """The recorded steps of one loss and one gradient on one net, by the shapes of their batches.

    A step is recorded only with the parts that come with mpifl, whose steps depend on nothing that
    a recording does not see: a loss or a network of yours may count its own calls.
    """

    def __init__(self, net: Net, loss: Loss, gradient: Gradient, graphs: Graphs) -> None:
        self._net = net
        is_worth_it = net.device.type == "cuda" or len(net.weights) <= _SMALL
        wanted = graphs == "yes" or (graphs == "auto" and is_worth_it)
        self._is_on = wanted and all(
            _comes_with_mpifl(part) for part in _parts(net, loss, gradient)
        )
        self._may_fail = graphs == "auto"
        self._is_on_gpu = net.device.type == "cuda"
        self._pool: Any = None
        self._seen: dict[Any, int] = {}
        self._functions: dict[Any, Function | None] = {}

    def find(self, key: Any, make: Callable[[], Function], inputs: list[Tensor]) -> Function | None:
        """The recorded step of this kind; None if there is none, for now or for good.

        `make` gives the function that is recorded, of `inputs`.
        """
        if key in self._functions:
            return self._functions[key]
        most = _MOST_GRAPHS if self._is_on_gpu else _MOST_RECORDINGS
        if len(self._functions) >= most or not self._is_on:
            return None
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] <= _BEFORE:
            return None
        self._functions[key] = self._record(make(), inputs)
        return self._functions[key]

    def _record(self, function: Function, inputs: list[Tensor]) -> Function | None:
        moved = [self._net.weights, *self._net.module.buffers()]  # by the calls made here
        kept = [tensor.clone() for tensor in moved]
        try:
            if self._is_on_gpu:
                return self._captured(function, inputs)
            return recorded(function, inputs, self._net.static())
        except Differs:
            return None
        finally:
            for tensor, value in zip(moved, kept, strict=True):
                tensor.copy_(value)

    def _captured(self, function: Function, inputs: list[Tensor]) -> Function | None:
        """A CUDA graph; None where the GPU cannot make one (and need not), now and from now on."""
        static = self._net.static()
        try:
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            return CudaGraph(recorded(function, inputs, static), inputs, static, self._pool)
        except RuntimeError as error:
            if not self._may_fail:
                raise
            reason = str(error).partition("\n")[0]
        self._is_on = False
        torch.cuda.empty_cache()
        say(
            f"warning: no CUDA graph could be made of a local step ({reason}); such steps run as "
            'with runtime.graphs = "no"',
            error=True,
        )
        return None


class Unknown:
    """Stands for what a loss may know of a client's round, where a step must not depend on it."""

    def __getattr__(self, name: str) -> Any:
        raise Differs(f"it asks for {name} of the client's round")


def _parts(net: Net, loss: Loss, gradient: Gradient) -> Iterator[object]:
    yield gradient
    yield from net.module.modules()
    losses = [loss]
    while losses:
        part = losses.pop()
        yield part
        if isinstance(part, Sum):
            losses.extend(part.terms)
        if isinstance(part, Wrapper):
            losses.append(part.loss)


def _comes_with_mpifl(part: object) -> bool:
    if isinstance(part, nn.Module) and (part._forward_hooks or part._forward_pre_hooks):
        return False
    return type(part).__module__.startswith(("mpifl.", "torch.nn."))
