"""The image classifiers of timm (PyTorch Image Models), by name."""

from __future__ import annotations

from dataclasses import field
from types import ModuleType

from mpifl import vision
from mpifl.models.adapted import adapted
from mpifl.models.base import Architecture, Shape
from mpifl.models.created import created
from mpifl.models.network import Network
from mpifl.options import BadInput, Free, options, similar


@options
class Timm(Architecture):
    """Networks of timm, with weights drawn from the seed. Needs `pip install 'mpifl[timm]'`."""

    name = "timm"
    arch: str = "vit_tiny_patch16_224"
    """which network, such as convnext_atto, vit_small_patch16_224"""
    options: Free = field(default_factory=dict)
    """options of the network in timm, such as { patch_size = 4, depth = 6, drop_path_rate = 0.1 };
    networks that have an image size get that of the data
    """

    def build(self, shape: Shape, classes: int) -> Network:
        timm = _timm()
        if not timm.is_model(self.arch):
            raise BadInput(
                f"model.arch: expected a network of timm; got {self.arch!r}"
                f"{similar(self.arch, timm.list_models())}; timm.list_models() lists them"
            )
        channels, height, width = shape
        inner = created(
            timm.create_model,
            self.arch,
            self.options,
            {"img_size": (height, width)},
            num_classes=classes,
            in_chans=channels,
        )
        return adapted(inner, shape, classes)


def _timm() -> ModuleType:
    try:
        vision.torchvision()  # timm imports it, which may need help
        import timm
    except ImportError as error:
        raise BadInput(
            f"model.name: expected timm, which has the network; got: {error}; "
            "`pip install 'mpifl[timm]'`"
        ) from error
    return timm
