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

from mpifl.net import Entry

Policy = Literal["average", "pooled", "local"]


class BufferPolicy:
    """One policy, for buffers `[b]` laid out as `layout` says."""

    def __init__(self, policy: Policy, layout: list[Entry]) -> None:
        self.policy = policy
        entries = {
            e.name: torch.arange(e.offset, e.offset + e.size) for e in layout if e.kind == "buffer"
        }
        pairs = [
            (entries[n.removesuffix("var") + "mean"], i)
            for n, i in entries.items()
            if n.endswith("running_var")
        ]
        none = torch.empty(0, dtype=torch.int64)
        self._means = torch.cat([none, *(mean for mean, _ in pairs)])
        self._variances = torch.cat([none, *(variance for _, variance in pairs)])

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
