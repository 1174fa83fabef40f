"""The objective whose curvature is measured: the mean cross-entropy, in evaluation mode.

All samples have equal weight, so batches may differ in size. There is no regulariser, augmentation
or weight decay. Several processes may share the data: each has a part, and `total` sums a vector
over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from mpifl.net import Net, digest
from mpifl.options import BadInput

Data = Iterable[tuple[Tensor, Tensor]]
"""gives the same batches (x, y) each time it is iterated"""
Total = Callable[[Tensor], Tensor]
"""sums a flat vector over the processes that share the data; all of them get the sum"""


def alone(vector: Tensor) -> Tensor:
    """The `total` of one process."""
    return vector


class Objective:
    """f(w) = sum over the samples of cross-entropy / n, of a net with fixed `buffers [b]`.

    By default these are the net's present ones.

    `forward` has options of the forward pass. Each use of the net restores its weights, buffers,
    modes and gradient. The methods raise BadInput if there is no sample.
    """

    def __init__(
        self,
        net: Net,
        data: Data,
        buffers: Tensor | None = None,
        total: Total = alone,
        forward: Mapping[str, Any] | None = None,
    ) -> None:
        self.net = net
        self.data = data
        self.total = total
        self.forward = dict(forward or {})
        self.buffers = (net.buffers if buffers is None else buffers).detach().clone()
        self.parameters = [p for p in net.module.parameters() if p.requires_grad]

    @contextmanager
    def at(self, w: Tensor) -> Iterator[None]:
        """Inside, the net has weights `w [d]` and the objective's buffers, in evaluation mode."""
        net = self.net
        before = (net.weights.clone(), net.buffers.clone())
        modes = [(module, module.training) for module in net.module.modules()]
        net.load(w, self.buffers)
        net.module.eval()
        try:
            with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
                yield
        finally:
            net.load(*before)
            for module, training in modes:
                module.training = training

    def logits(self, x: Tensor) -> Tensor:
        """The logits [n, classes] of a batch; within `at`."""
        return self.net(x, **self.forward).logits

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The summed cross-entropy of a batch; within `at`."""
        return F.cross_entropy(self.logits(x), y, reduction="sum")

    def score(self, w: Tensor) -> tuple[float, float]:
        """Mean cross-entropy and accuracy at `w [d]`."""
        sums = torch.zeros(3, dtype=torch.float64)
        with self.at(w), torch.no_grad():
            for x, y in self.data:
                logits = self.logits(x)
                sums[0] += F.cross_entropy(logits.double(), y, reduction="sum").item()
                sums[1] += (logits.argmax(-1) == y).sum().item()
                sums[2] += len(y)
        loss, right, n = self.total(sums).tolist()
        self._refuse_nothing(n)
        return loss / n, right / n

    def gradient(self, w: Tensor) -> tuple[float, Tensor]:
        """f(w) and its gradient [d]."""
        packed = w.new_zeros(len(w) + 2)
        with self.at(w), torch.enable_grad():
            for x, y in self.data:
                loss = self.loss(x, y)
                packed[:-2] += flat(derivatives([loss], self.parameters))
                packed[-2] += loss.detach()
                packed[-1] += len(y)
        packed = self.total(packed)
        self._refuse_nothing(packed[-1].item())
        return (packed[-2] / packed[-1]).item(), packed[:-2] / packed[-1]

    def check(self, w: Tensor) -> tuple[float, Tensor]:
        """f(w) and its gradient [d], from two passes over the data.

        Raises BadInput if the passes differ, and says why. A Hessian is defined only if every
        product sees the same function.
        """
        first = self._traced(w)
        second = self._traced(w)
        reason = _difference(first, second, self.buffers)
        flags = torch.tensor([1.0 if reason else 0.0], dtype=torch.float64, device=w.device)
        if self.total(flags).item():
            reason = reason or "another process's part of the data does"
            raise BadInput(
                f"data: expected the same finite function at every pass over the data; got {reason}"
            )
        return first.loss, first.gradient

    def _traced(self, w: Tensor) -> _Pass:
        """`gradient(w)`, with a record of the batches and of the buffers after the pass."""
        source = self.data
        digests = []
        buffers = self.buffers

        def recorded() -> Iterator[tuple[Tensor, Tensor]]:
            nonlocal buffers
            for x, y in source:
                digests.append(digest(x, y))
                yield x, y
            buffers = self.net.buffers.clone()

        self.data = recorded()
        try:
            loss, gradient = self.gradient(w)
        finally:
            self.data = source
        return _Pass(loss, gradient, digests, buffers)

    def _refuse_nothing(self, n: float) -> None:
        if not n:
            raise BadInput("data: expected at least one sample; got none")


class _Pass(NamedTuple):
    """What one pass over the data saw and returned."""

    loss: float
    gradient: Tensor
    batches: list[str]
    """their digests"""
    buffers: Tensor
    """as the pass left them"""


def _difference(first: _Pass, second: _Pass, buffers: Tensor) -> str:
    """How two passes differ, in words; empty if they do not."""
    if first.batches != second.batches:
        return "other batches in the second pass (the source shuffles or augments)"
    if not torch.equal(first.buffers, buffers):
        return "running statistics that a pass moves (a BatchNorm in train mode)"
    if not math.isfinite(first.loss):
        return f"a loss of {first.loss} (these weights have diverged)"
    rough = 1e-9 if first.gradient.dtype == torch.float64 else 1e-3
    apart = (first.gradient - second.gradient).norm() > rough * first.gradient.norm()
    if apart or abs(first.loss - second.loss) > rough * abs(first.loss):
        return (
            f"losses {first.loss:.9g} and {second.loss:.9g} of the same batches "
            "(dropout, or other random draws)"
        )
    return ""


def derivatives(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    factors: Sequence[Tensor] | None = None,
    *,
    keep_graph: bool = False,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """d/d inputs of <outputs, factors> (factors: 1 of scalar outputs); 0 for inputs without part.

    `create_graph` makes the result differentiable; it keeps the graph too.
    """
    return torch.autograd.grad(
        outputs,
        inputs,
        factors,
        retain_graph=keep_graph or create_graph,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """The tensors one after the other, as a vector [d]."""
    return torch.cat([t.reshape(-1) for t in tensors])
