"""Convolutions, linear layers and norms that can run as a narrower sub-network of themselves.

A narrower pass uses the first channels of every layer: its outputs are asked for, its inputs follow
from the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpifl.options import BadInput

NormKind = Literal["batch", "group", "layer", "scale", "l2", "shift", "none"]
FeatureNorm = bool | Literal["l2", "shift", "layer"]


def rounded(channels: int, width: float, divisor: int = 8) -> int:
    """`width * channels` to the nearest multiple of `divisor`, at least 90 % of it, never more than
    `channels`.

    The rule of MobileNet and of FedAlign's and GradAug's codes.

    >>> rounded(256, 0.25), rounded(16, 0.8), rounded(64, 0.8), rounded(10, 1.0)
    (64, 16, 48, 10)
    """
    wanted = width * channels
    nearest = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    if nearest < 0.9 * wanted:
        nearest += divisor
    return min(nearest, channels)


def _first(tensor: Tensor | None, channels: int) -> Tensor | None:
    return None if tensor is None else tensor[:channels]


class Conv(nn.Conv2d):
    """A convolution; with `out_channels` given, its first outputs from the first inputs."""

    def forward(self, x: Tensor, out_channels: int | None = None) -> Tensor:
        weight, bias = self.weight, self.bias
        if out_channels is not None:
            weight, bias = weight[:out_channels, : x.shape[1]], _first(bias, out_channels)
        return F.conv2d(x, weight, bias, self.stride, self.padding)


class Linear(nn.Linear):
    """A linear layer; an input narrower than usual uses the first columns of the weights."""

    def forward(self, x: Tensor, out_features: int | None = None) -> Tensor:
        weight, bias = self.weight, self.bias
        if out_features is not None:
            weight, bias = weight[:out_features], _first(bias, out_features)
        if x.shape[-1] != self.in_features:
            weight = weight[:, : x.shape[-1]]
        return F.linear(x, weight, bias)


class _Affine(nn.Module):
    """A norm's scale and shift per channel, or neither."""

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None


class BatchNorm(_Affine):
    """Batch normalisation (Ioffe & Szegedy, 2015) of [B, C, ...], with two float buffers and no
    counter.

    In training it uses the batch's statistics, and moves the running ones unless `track` is off or
    the pass is a sub-network's. In evaluation it uses the running ones. A batch with one value per
    channel has no variance: it is normalised by the running statistics, and leaves them alone.
    """

    def __init__(
        self, channels: int, affine: bool = True, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(channels, affine)
        self.eps, self.momentum, self.track = eps, momentum, True
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, sub: bool = False) -> Tensor:
        weight, bias, mean, var = self.weight, self.bias, self.running_mean, self.running_var
        channels = x.shape[1]
        if sub:
            weight, bias, mean, var = (_first(t, channels) for t in (weight, bias, mean, var))
        if not self.training or x.numel() == channels:
            return F.batch_norm(x, mean, var, weight, bias, False, self.momentum, self.eps)
        if sub or not self.track:
            mean = var = None
        return F.batch_norm(x, mean, var, weight, bias, True, self.momentum, self.eps)


class GroupNorm(_Affine):
    """Group normalisation (Wu & He, 2018) of [B, C, ...]; one group is layer normalisation over (C,
    H, W).

    A narrower pass keeps the channels per group where they divide its channels, and else takes
    larger groups.
    """

    def __init__(self, channels: int, groups: int, affine: bool = True, eps: float = 1e-5) -> None:
        super().__init__(channels, affine)
        self.groups, self.per_group, self.eps = groups, channels // groups, eps

    def forward(self, x: Tensor, sub: bool = False) -> Tensor:
        if not sub:
            return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)
        channels = x.shape[1]
        groups = max(1, channels // self.per_group)
        while channels % groups:
            groups -= 1
        return F.group_norm(
            x, groups, _first(self.weight, channels), _first(self.bias, channels), self.eps
        )


def scaled(x: Tensor, m: float | None = None) -> Tensor:
    """`sqrt(m) x / ||x||` for each sample of `x [B, ...]`; m is by default the number of a sample's
    elements.

    A sample of norm below 1e-12 passes as it is: all derivatives stay finite.
    """
    m = float(x[0].numel()) if m is None else m
    square = x.square().sum(tuple(range(1, x.dim())), keepdim=True)
    return x * (m**0.5 * torch.rsqrt(torch.where(square > 1e-24, square, m)))


def unit(x: Tensor) -> Tensor:
    """`x / ||x||` for each sample."""
    return scaled(x, 1.0)


def shifted(x: Tensor) -> Tensor:
    """`x` less its mean, for each sample."""
    return x - x.mean(tuple(range(1, x.dim())), keepdim=True)


class SampleNorm(_Affine):
    """A function of each sample [C, ...] by itself, then the affine map."""

    def __init__(
        self, channels: int, function: Callable[[Tensor], Tensor], affine: bool = True
    ) -> None:
        super().__init__(channels, affine)
        self.function = function

    def forward(self, x: Tensor, sub: bool = False) -> Tensor:
        x = self.function(x)
        if self.weight is None:
            return x
        weight, bias = (
            t[: x.shape[1]].view(-1, *[1] * (x.dim() - 2)) for t in (self.weight, self.bias)
        )
        return weight * x + bias


class NoNorm(nn.Module):
    """The identity, where another model would normalise."""

    def forward(self, x: Tensor, sub: bool = False) -> Tensor:
        return x


SAMPLE_NORMS = {"scale": scaled, "l2": unit, "shift": shifted}
"""FedLN's (arXiv 2308.09565) parts of layer normalisation, which is `shift` and then `scale`, but
for its eps
"""


def norm(kind: NormKind, channels: int, *, groups: int = 2, affine: bool = True) -> nn.Module:
    """The norm of that `kind` for tensors [B, channels, ...]; called as `norm(x, sub=False)`."""
    if kind == "batch":
        return BatchNorm(channels, affine)
    if kind == "none":
        return NoNorm()
    if kind in SAMPLE_NORMS:
        return SampleNorm(channels, SAMPLE_NORMS[kind], affine)
    groups = 1 if kind == "layer" else groups
    if channels % groups:
        raise BadInput(
            f"model.groups: expected a divisor of all layers' channels; got {groups} for {channels}"
        )
    return GroupNorm(channels, groups, affine)


@contextmanager
def untracked(module: nn.Module) -> Iterator[None]:
    """Within it, training passes of `module` leave the running statistics of its batch norms alone."""
    norms = [part for part in module.modules() if isinstance(part, BatchNorm) and part.track]
    for part in norms:
        part.track = False
    try:
        yield
    finally:
        for part in norms:
            part.track = True


def feature_norm(f: Tensor, kind: FeatureNorm = True) -> Tensor:
    """Features `f [B, q]`, normed by sample: `sqrt(q) f / ||f||` (FedFN in FedLN's terms), or as
    `kind` says.

    `layer` is `shift`, then the same scaling; False leaves them.
    """
    if kind in ("shift", "layer"):
        f = shifted(f)
    if kind == "l2":
        return unit(f)
    return scaled(f) if kind in (True, "layer") else f
