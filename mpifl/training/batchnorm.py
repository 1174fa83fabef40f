"""What becomes of BatchNorm's running statistics between clients and server.

average: the weighted mean of each number, as most codes do. pooled: the statistics of the pooled
samples, mean = sum p mu_c and var = sum p (var_c + (mu_c - mean)^2), which keeps the variance
between clients. local: a client keeps its own; the server's average is for evaluation and for
clients that have none yet.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mpifl.flat_layout import Entry

Policy = Literal["average", "pooled", "local"]


class BufferPolicy:
    """One policy, for buffers `[b]` laid out as `layout` says."""

    def __init__(self, policy: Policy, layout: list[Entry]) -> None:
        self.policy = policy
        places = {}
        for entry in layout:
            if entry.kind == "buffer":
                places[entry.name] = torch.arange(entry.offset, entry.offset + entry.size)
        means = [torch.empty(0, dtype=torch.int64)]
        variances = [torch.empty(0, dtype=torch.int64)]
        for name, place in places.items():
            if name.endswith("running_var"):
                means.append(places[name.removesuffix("var") + "mean"])
                variances.append(place)
        # Where each variance lies in the buffers, and the mean of the same channel.
        self._means = torch.cat(means)
        self._variances = torch.cat(variances)

    def encode(self, buffers: Tensor) -> Tensor:
        """What a client replies `[b]`: something whose weighted mean the server can use."""
        if self.policy != "pooled":
            return buffers.clone()
        reply = buffers.double()
        reply[self._variances.to(reply.device)] += reply[self._means.to(reply.device)] ** 2
        return reply

    def decode(self, mean: Tensor, dtype: torch.dtype) -> Tensor:
        """The server's buffers `[b]` from the weighted mean of the replies."""
        if self.policy == "pooled":
            mean = mean.clone()
            mean[self._variances] -= mean[self._means] ** 2
            mean[self._variances] = mean[self._variances].clamp_(min=0.0)
        return mean.to(dtype)
