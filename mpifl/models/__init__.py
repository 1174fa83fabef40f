"""Networks by name: options that build a `Network`, whose forward pass returns an `Output`."""

from __future__ import annotations

from mpifl.models.base import Architecture, Model
from mpifl.models.cnn import Cnn
from mpifl.models.fedln_cnn import FedLnCnn
from mpifl.models.lenet import LeNet
from mpifl.models.mlp import Mlp
from mpifl.models.module import Module
from mpifl.models.output import Output
from mpifl.models.pfl_cnn import PflCnn
from mpifl.models.resnet18 import ResNet18
from mpifl.models.resnet56 import ResNet20, ResNet56
from mpifl.models.timm_networks import Timm
from mpifl.models.tiny_cnn import TinyCnn
from mpifl.models.torchvision_networks import Torchvision
from mpifl.models.vit import ViT

__all__ = ["ADAPTED", "MODELS", "OWN", "Architecture", "Model", "Output"]


def _named(*kinds: type[Architecture]) -> dict[str, type[Architecture]]:
    return {kind.name: kind for kind in kinds}


#: mpifl's own networks.
OWN = _named(Cnn, FedLnCnn, LeNet, Mlp, PflCnn, ResNet18, ResNet20, ResNet56, TinyCnn, ViT)

#: Networks of other libraries and of users, which are adapted.
ADAPTED = _named(Torchvision, Timm, Module)

#: Every architecture that a config may name.
MODELS = OWN | ADAPTED
