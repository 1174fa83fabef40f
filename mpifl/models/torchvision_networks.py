"""The image classifiers of torchvision, by name."""

from __future__ import annotations

from dataclasses import field

from mpifl import vision
from mpifl.models.adapted import adapted
from mpifl.models.base import Architecture, Shape
from mpifl.models.created import created
from mpifl.models.network import Network
from mpifl.options import BadInput, Free, options, suggestion


@options
class Torchvision(Architecture):
    """Networks of torchvision, with weights drawn from the seed; for its trained weights see
    `init`. Grey images are repeated to three channels. Needs `pip install 'mpifl[vision]'`.
    """

    name = "torchvision"
    arch: str = "resnet18"
    """which network, such as resnet50, efficientnet_b0, vit_b_16"""
    options: Free = field(default_factory=dict)
    """options of the network in torchvision, such as { dropout = 0.1 }; a vit gets the size of the
    images
    """

    def build(self, shape: Shape, classes: int) -> Network:
        try:
            models = vision.torchvision().models
        except ImportError as error:
            raise BadInput(
                "model.name: expected torchvision, which has the network; got: "
                f"{error}; `pip install 'mpifl[vision]'`"
            ) from error
        known = models.list_models(module=models)
        if self.arch not in known:
            raise BadInput(
                f"model.arch: expected a classifier of torchvision; got {self.arch!r}"
                f"{suggestion(self.arch, known)}"
            )
        size = {"image_size": max(shape[1:])}
        inner = created(
            models.get_model, self.arch, self.options, size, weights=None, num_classes=classes
        )
        return adapted(inner, shape, classes, repeats_grey=True)
