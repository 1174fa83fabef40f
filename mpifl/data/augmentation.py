"""Random changes of training images: padded crops, resized crops, flips.

Draws are made on the host and applied on the device, to the same bits everywhere.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from mpifl.data import resized_crop
from mpifl.options import Fraction, NonNegativeInt, options


@options
class Augmentation:
    """Random changes of training images, drawn for each sample. The default is none."""

    crop: NonNegativeInt = 0
    """pixels of padding on each side before a random crop back to the image's size"""
    padding: Literal["black", "mean"] = "black"
    """its colour: black; or the mean of each channel, as if images were padded after normalising
    (the FedDyn family)
    """
    crop_probability: Fraction = 1.0
    """share of the samples that are cropped at random; the others are not moved"""
    flip: Fraction = 0.0
    """probability of a left-right flip"""
    size: NonNegativeInt = 0
    """height and width of crops, pixels; 0: those of the images. A network must take both sizes, as
    ResNets do: it is tested on whole images
    """
    area: Fraction = 1.0
    """least share of the image's area that a crop has before it is resized, as torchvision's
    RandomResizedCrop, often 0.08; 1: crops are not resized
    """
    aspect: Annotated[float, Ge(1)] = 4 / 3
    """largest ratio of the sides of a crop that is resized, either way"""

    @property
    def is_nothing(self) -> bool:
        """Whether images stay unchanged."""
        return not self.crop and not self.flip and not self.size and self.area == 1

    @property
    def pads_after_normalising(self) -> bool:
        """Whether the padding has the mean colour, which is 0 once images are normalised."""
        return self.padding == "mean" and self.area == 1

    def draw(
        self, n: int, random: np.random.Generator, images: tuple[int, int]
    ) -> np.ndarray | None:
        """Row, column and flip of each crop, int64 `[n, 3]`; None if nothing changes.

        Where crops are resized, also their height and width: `[n, 5]`. `images` are height and
        width of the images.
        """
        if self.is_nothing:
            return None
        cropped = random.random(n) < self.crop_probability
        if self.area < 1:
            boxes = resized_crop.boxes(n, images, self.area, self.aspect, random)
            boxes = np.where(cropped[:, None], boxes, (0, 0, *images))
        else:
            boxes = np.where(cropped[:, None], *self._corners(n, random, images))
        flipped = random.random(n) < self.flip
        return np.column_stack([boxes[:, :2], flipped, boxes[:, 2:]])

    def _corners(
        self, n: int, random: np.random.Generator, images: tuple[int, int]
    ) -> tuple[np.ndarray, tuple[int, int]]:
        """Corners of `n` random crops in the padded image, `[n, 2]`, and that of the middle one."""
        if not self.size:
            return random.integers(2 * self.crop + 1, size=(n, 2)), (self.crop, self.crop)
        height, width = (side + 2 * self.crop - self.size for side in images)
        drawn = random.integers((height + 1, width + 1), size=(n, 2))
        return drawn, (height // 2, width // 2)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Images `[n, c, h, w]`, padded with 0, cropped and flipped as in `draws`.

        Images that are resized must be uint8.
        """
        n, _, height, width = images.shape
        if self.size:
            height = width = self.size
        if self.area < 1:
            boxes = draws[:, (0, 1, 3, 4)]
            images = resized_crop.resized(images, boxes, (height, width))
            return torch.where(draws[:, 2].view(n, 1, 1, 1).bool(), images.flip(3), images)
        padded = torch.nn.functional.pad(images, [self.crop] * 4)
        rows = draws[:, 0, None] + torch.arange(height, device=images.device)
        columns = torch.arange(width, device=images.device).expand(n, -1)
        columns = torch.where(draws[:, 2, None].bool(), width - 1 - columns, columns)
        columns = columns + draws[:, 1, None]
        samples = torch.arange(n, device=images.device)[:, None, None]
        picked = padded.permute(0, 2, 3, 1)[samples, rows[:, :, None], columns[:, None, :]]
        return picked.permute(0, 3, 1, 2)
