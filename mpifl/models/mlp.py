"""A multi-layer perceptron on flattened images."""

from __future__ import annotations

from math import prod
from typing import Annotated

from pydantic import Field

from mpifl.models.base import Model, Shape
from mpifl.models.convnet import Plain, dense_layers
from mpifl.models.head import Head
from mpifl.options import Count, options


@options
class Mlp(Model):
    """Hidden ReLU layers of the given sizes, each normed; without any: logistic regression."""

    name = "mlp"
    hidden: Annotated[tuple[Count, ...], Field(strict=False)] = (64,)
    """outputs of each hidden layer"""
    norm_after_activation: bool = False
    """linear, ReLU, norm instead of linear, norm, ReLU"""

    def build(self, shape: Shape, classes: int) -> Plain:
        widths = (prod(shape), *self.hidden)
        hidden = dense_layers(widths, self.make_norm, after=self.norm_after_activation)
        return Plain([], hidden, Head(widths[-1], classes, normalise=self.feature_norm))
