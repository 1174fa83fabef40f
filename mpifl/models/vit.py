"""A small vision transformer (Dosovitskiy et al., 2021).

It has pre-norm blocks and learnt positions, and averages over patches.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mpifl.models.base import Model, Shape
from mpifl.models.head import Head
from mpifl.models.layers import Conv, Linear, NoNorm, NormKind
from mpifl.models.network import Network
from mpifl.models.output import HiddenLayers, Keep, Output, Recorder
from mpifl.options import BadInput, Count, options


class Attention(nn.Module):
    """Multi-head self-attention over tokens [B, T, D]."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # Fused kernels have no second derivative. Evaluation with gradients on is how curvature is
        # measured.
        plain = torch.is_grad_enabled() and not self.training
        with sdpa_kernel(SDPBackend.MATH) if plain else nullcontext():
            x = F.scaled_dot_product_attention(q, k, v)
        return self.out(x.transpose(1, 2).flatten(2))


class TokenNorm(nn.Module):
    """A norm of [B, C] applied to tokens [B, T, C].

    Layer and group norm see one token, batch norm all B*T.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.flatten(0, 1)).view_as(x)


class Encoder(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`."""

    def __init__(self, options: ViT) -> None:
        super().__init__()
        dim = options.dim
        inner = options.expansion * options.dim
        attention = Attention(dim, options.heads)
        up = Linear(dim, inner)
        self.norm1 = TokenNorm(options.make_norm(dim, attention.qkv))
        self.attention = attention
        self.norm2 = TokenNorm(options.make_norm(dim, up))
        self.up = up
        self.down = Linear(inner, dim)

    def forward(self, x: Tensor, recorder: Recorder) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(recorder.gelu(self.up(self.norm2(x))))


class Transformer(Network):
    """Patches, positions, encoders, a last norm, the mean over patches, the head."""

    def __init__(self, options: ViT, shape: Shape, classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        patch = options.patch
        dim = options.dim
        self.embed = Conv(channels, dim, patch, patch)
        self.positions = nn.Parameter(torch.empty(1, (height // patch) * (width // patch), dim))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.encoders = nn.ModuleList(Encoder(options) for _ in range(options.depth))
        last = NoNorm() if options.norm == "weight" else options.make_norm(dim)
        self.norm = TokenNorm(last)
        self.head = Head(dim, classes, normalise=options.feature_norm)

    @property
    def hidden_layers(self) -> HiddenLayers:
        return HiddenLayers(len(self.encoders))

    def forward(self, x: Tensor, *, keep: Keep = frozenset()) -> Output:
        recorder = Recorder(keep)
        x = self.embed(x).flatten(2).transpose(1, 2) + self.positions
        for encoder in self.encoders:
            x = encoder(x, recorder)
        logits, features = self.head(self.norm(x).mean(1), recorder)
        return recorder.output(logits, features)


@options
class ViT(Model):
    """A vision transformer without dropout.

    Height and width must be multiples of `patch`, `dim` of `heads`.
    """

    name = "vit"
    norm: NormKind = "layer"
    patch: Count = 4
    """side of the square patches, pixels"""
    dim: Count = 128
    """channels of a token"""
    depth: Count = 6
    """encoders"""
    heads: Count = 4
    """attention heads; must divide dim"""
    expansion: Count = 2
    """hidden channels of an encoder's MLP, in units of `dim`"""

    def build(self, shape: Shape, classes: int) -> Transformer:
        _, height, width = shape
        self.check_size(shape, self.patch)
        if height % self.patch or width % self.patch:
            raise BadInput(
                f"model.patch: expected a divisor of {height} and {width} pixels; got {self.patch}"
            )
        if self.dim % self.heads:
            raise BadInput(f"model.heads: expected a divisor of dim = {self.dim}; got {self.heads}")
        return Transformer(self, shape, classes)
