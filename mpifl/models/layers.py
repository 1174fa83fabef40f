"""Convolutions, linear layers and norms that can run as a narrower sub-network of themselves.

A narrower pass uses the first channels of every layer. The caller gives the number of output
channels; the number of input channels is that of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpifl.models.standardise import standardised
from mpifl.options import BadInput

NormKind = Literal["batch", "group", "layer", "scale", "l2", "shift", "weight", "none"]
FeatureNorm = bool | Literal["l2", "shift", "layer"]


def rounded(channels: int, width: float, divisor: int = 8) -> int:
    """`width * channels` to the nearest multiple of `divisor`, at most `channels`.

    It is at least 90 % of `width * channels`.

    As in MobileNet, and in the code of FedAlign and GradAug.

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

    standardised: bool = False
    """whether a pass uses `standardised` weights, which `weight` itself is not"""

    def forward(self, x: Tensor, out_channels: int | None = None) -> Tensor:
        weight: Tensor = self.weight
        bias: Tensor | None = self.bias
        if out_channels is not None:
            weight = weight[:out_channels, : x.shape[1]]
            bias = _first(bias, out_channels)
        if self.standardised:
            weight = standardised(weight)
        return F.conv2d(x, weight, bias, self.stride, self.padding)


class Linear(nn.Linear):
    """A linear layer; with `out_features` given, its first outputs from the first inputs."""

    standardised: bool = False
    """whether a pass uses `standardised` weights, which `weight` itself is not"""

    def forward(self, x: Tensor, out_features: int | None = None) -> Tensor:
        weight: Tensor = self.weight
        bias: Tensor | None = self.bias
        if out_features is not None:
            weight = weight[:out_features, : x.shape[-1]]
            bias = _first(bias, out_features)
        elif x.shape[-1] != self.in_features:
            raise BadInput(
                f"model: expected {self.in_features} numbers at a linear layer, as for the images "
                f"that the network is built for; got {x.shape[-1]}"
            )
        if self.standardised:
            weight = standardised(weight)
        return F.linear(x, weight, bias)


class _Affine(nn.Module):
    """A norm's scale and shift per channel, or neither."""

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None


class BatchNorm(_Affine):
    """Batch normalisation (Ioffe & Szegedy, 2015) of [B, C, ...]; two float buffers, no counter.

    In training it uses the batch's statistics. It also moves the running ones, unless `track` is
    off or the pass is a sub-network's. In evaluation it uses the running ones. A batch with one
    value per channel has no variance: it is normalised by the running statistics, and leaves them
    alone.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self, channels: int, affine: bool = True, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(channels, affine)
        self.eps = eps
        self.momentum = momentum
        self.track = True
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, sub: bool = False) -> Tensor:
        weight: Tensor | None = self.weight
        bias: Tensor | None = self.bias
        mean: Tensor | None = self.running_mean
        var: Tensor | None = self.running_var
        channels = x.shape[1]
        if sub:
            weight = _first(weight, channels)
            bias = _first(bias, channels)
            mean = _first(mean, channels)
            var = _first(var, channels)
        if not self.training or x.numel() == channels:
            return F.batch_norm(x, mean, var, weight, bias, False, self.momentum, self.eps)
        if sub or not self.track:
            mean = None
            var = None
        return F.batch_norm(x, mean, var, weight, bias, True, self.momentum, self.eps)


class GroupNorm(_Affine):
    """Group normalisation (Wu & He, 2018) of [B, C, ...].

    One group is layer normalisation over (C, H, W). A narrower pass keeps the number of channels
    per group if that divides its channels; otherwise its groups are larger.
    """

    def __init__(self, channels: int, groups: int, affine: bool = True, eps: float = 1e-5) -> None:
        super().__init__(channels, affine)
        self.groups = groups
        self.per_group = channels // groups
        self.eps = eps

    def forward(self, x: Tensor, sub: bool = False) -> Tensor:
        if not sub:
            return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)
        channels = x.shape[1]
        groups = max(1, channels // self.per_group)
        while channels % groups:
            groups -= 1
        weight = _first(self.weight, channels)
        bias = _first(self.bias, channels)
        return F.group_norm(x, groups, weight, bias, self.eps)


def scaled(x: Tensor, m: float | None = None) -> Tensor:
    """`sqrt(m) x / ||x||` for each sample of `x [B, ...]`; m defaults to its number of elements.

    A sample of norm below 1e-12 is returned unchanged: all derivatives stay finite.
    """
    if m is None:
        m = float(x[0].numel())
    square = x.square().sum(tuple(range(1, x.dim())), keepdim=True)
    return x * (m**0.5 * torch.rsqrt(torch.where(square > 1e-24, square, m)))


def unit(x: Tensor) -> Tensor:
    """`x / ||x||` for each sample."""
    return scaled(x, 1.0)


def shifted(x: Tensor) -> Tensor:
    """`x` less its mean, for each sample."""
    return x - x.mean(tuple(range(1, x.dim())), keepdim=True)


class SampleNorm(_Affine):
    """A function applied to each sample [C, ...], then the affine map."""

    def __init__(
        self, channels: int, function: Callable[[Tensor], Tensor], affine: bool = True
    ) -> None:
        super().__init__(channels, affine)
        self.function = function

    def forward(self, x: Tensor, sub: bool = False) -> Tensor:
        x = self.function(x)
        if self.weight is None or self.bias is None:
            return x
        shape = (-1, *[1] * (x.dim() - 2))
        weight = self.weight[: x.shape[1]].view(shape)
        bias = self.bias[: x.shape[1]].view(shape)
        return weight * x + bias


class WeightNorm(SampleNorm):
    """What is left of a norm where a layer's weights are standardised instead: the affine map."""

    def __init__(self, channels: int, layer: nn.Module | None, affine: bool = True) -> None:
        if not isinstance(layer, (Conv, Linear)):
            got = "none" if layer is None else type(layer).__name__
            raise BadInput(
                "model.norm: expected for weight a network that says whose weights each norm is "
                f"about, a Conv or Linear of mpifl.models.layers; got {got}"
            )
        super().__init__(channels, nn.Identity(), affine)
        layer.standardised = True


class NoNorm(nn.Module):
    """The identity, where another model would normalise."""

    def forward(self, x: Tensor, sub: bool = False) -> Tensor:
        return x


SAMPLE_NORMS = {"scale": scaled, "l2": unit, "shift": shifted}
"""FedLN's (arXiv 2308.09565) parts of layer normalisation, which is `shift`, then `scale`"""


def norm(
    kind: NormKind,
    channels: int,
    layer: nn.Module | None = None,
    *,
    groups: int = 2,
    affine: bool = True,
) -> nn.Module:
    """The norm of that `kind` for tensors [B, channels, ...]; called as `norm(x, sub=False)`.

    `weight` makes `layer` use standardised weights.
    """
    if kind == "batch":
        return BatchNorm(channels, affine)
    if kind == "none":
        return NoNorm()
    if kind == "weight":
        return WeightNorm(channels, layer, affine)
    if kind in SAMPLE_NORMS:
        return SampleNorm(channels, SAMPLE_NORMS[kind], affine)
    groups = 1 if kind == "layer" else groups
    if channels % groups:
        raise BadInput(
            f"model.groups: expected a divisor of all layers' channels; got {groups} for {channels}"
        )
    return GroupNorm(channels, groups, affine)


def is_norm(module: nn.Module) -> bool:
    """Whether its parameters are the scale and shift of a norm."""
    torch_norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    return isinstance(module, (_Affine, *torch_norms))


@contextmanager
def untracked(module: nn.Module) -> Iterator[None]:
    """A context in which training passes of `module` do not move its running statistics.

    Buffers of modules other than `BatchNorm` are put back afterwards.
    """
    norms = []
    kept = []
    for part in module.modules():
        if not isinstance(part, BatchNorm):
            kept += [(buffer, buffer.clone()) for buffer in part.buffers(recurse=False)]
        elif part.track:
            norms.append(part)
    for part in norms:
        part.track = False
    try:
        yield
    finally:
        for part in norms:
            part.track = True
        for buffer, before in kept:
            buffer.copy_(before)


def feature_norm(f: Tensor, kind: FeatureNorm = True) -> Tensor:
    """Features `f [B, q]`, each sample normed as `kind` says.

    By default: `sqrt(q) f / ||f||` (FedFN in FedLN's terms).

    `layer` is `shift`, then the same scaling; False returns them unchanged.
    """
    if kind in ("shift", "layer"):
        f = shifted(f)
    if kind == "l2":
        return unit(f)
    return scaled(f) if kind in (True, "layer") else f
