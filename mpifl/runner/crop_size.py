"""Whether crops of their own size fit the images and the network: `data.augment.size`."""

from __future__ import annotations

import torch

from mpifl.models.base import Shape
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.runner.schema import Config


def check_crop_size(config: Config, shape: Shape, net: Net) -> None:
    """Raise BadInput for crops larger than padded images, or that the network does not take."""
    crop = config.data.augment
    if not crop.size:
        return
    channels, *sides = shape
    largest = min(sides) + 2 * crop.crop
    if crop.size > largest:
        raise BadInput(
            f"data.augment.size: expected at most {largest}, the side of a padded image; got "
            f"{crop.size}"
        )
    image = torch.zeros(1, channels, crop.size, crop.size).to(net.weights)
    if not _takes(net, image):
        raise BadInput(
            "data.augment.size: expected a network that takes images of other sizes too, such as "
            f"resnet18; got crops of {crop.size} pixels and {config.model.name} for "
            f"{sides[0]}x{sides[1]} pixels"
        )


def _takes(net: Net, image: torch.Tensor) -> bool:
    """Whether all layers fit this image."""
    net.module.eval()
    try:
        with torch.inference_mode():
            net.module(image)
    except Exception:  # whatever the layers of others raise, such as AssertionError
        return False
    finally:
        net.module.train()
    return True
