"""Networks by name: options that build a `Network`, whose forward pass returns an `Output`."""

from __future__ import annotations

from mpifl.models.base import Model
from mpifl.models.cnn import Cnn
from mpifl.models.fedln_cnn import FedLnCnn
from mpifl.models.lenet import LeNet
from mpifl.models.mlp import Mlp
from mpifl.models.output import Output
from mpifl.models.pfl_cnn import PflCnn
from mpifl.models.resnet18 import ResNet18
from mpifl.models.resnet56 import ResNet20, ResNet56
from mpifl.models.tiny_cnn import TinyCnn
from mpifl.models.vit import ViT

__all__ = ["MODELS", "Model", "Output"]

#: Every architecture that a config may name.
MODELS: dict[str, type[Model]] = {
    model.name: model
    for model in (Cnn, FedLnCnn, LeNet, Mlp, PflCnn, ResNet18, ResNet20, ResNet56, TinyCnn, ViT)
}
