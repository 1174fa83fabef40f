"""Random resized crops (Szegedy et al. 2015; torchvision's `RandomResizedCrop`).

A crop has a share of the image's area, uniform in [area, 1], and sides whose ratio is uniform in
its logarithm, in [1/aspect, aspect]. It is drawn up to ten times until it fits; else it is as large
as the ratio allows, in the middle. It is resized bilinearly, with antialiasing, as Pillow does,
first in width: in fixed-point numbers, so that the bits are the same on every device.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_TRIES = 10
_BITS = 22  # of the weights, as in Pillow: a sum of weighted pixels fits into 32 bits
_SLICE = 32  # images resized at once, for the sake of memory


def boxes(
    n: int, size: tuple[int, int], area: float, aspect: float, random: np.random.Generator
) -> np.ndarray:
    """Row, column, height and width of `n` crops of images of this height and width: int64 [n, 4].

    `area` in [0, 1] is the least share of the image, `aspect` (1 or more) the largest ratio.
    """
    height, width = size
    areas = random.uniform(area, 1.0, (n, _TRIES)) * (height * width)
    ratios = np.exp(random.uniform(-np.log(aspect), np.log(aspect), (n, _TRIES)))
    corners = random.random((n, 2))
    widths = np.rint(np.sqrt(areas * ratios)).astype(np.int64)
    heights = np.rint(np.sqrt(areas / ratios)).astype(np.int64)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.argmax(axis=1)
    crops = np.empty((n, 4), dtype=np.int64)
    crops[:, 2] = heights[np.arange(n), first]
    crops[:, 3] = widths[np.arange(n), first]
    crops[:, :2] = np.floor(corners * (np.array(size) - crops[:, 2:] + 1))
    crops[~fits.any(axis=1)] = largest(size, aspect)
    return crops


def largest(size: tuple[int, int], aspect: float) -> tuple[int, int, int, int]:
    """The largest crop in the middle whose sides have a ratio of at most `aspect`."""
    height, width = size
    crop_height = min(height, round(width * aspect))
    crop_width = min(width, round(height * aspect))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def resized(images: Tensor, crops: Tensor, size: tuple[int, int]) -> Tensor:
    """Crops [n, 4] of uint8 images [n, c, h, w], resized to height and width `size`: uint8."""
    parts = []
    host = crops.cpu().numpy()
    for start in range(0, len(images), _SLICE):
        part = images[start : start + _SLICE].int()
        chosen = host[start : start + _SLICE]
        columns = _taps(chosen[:, 1], chosen[:, 3], size[1], part.shape[3])
        rows = _taps(chosen[:, 0], chosen[:, 2], size[0], part.shape[2])
        narrow = _along_last(part, columns)
        parts.append(_along_last(narrow.transpose(2, 3), rows).transpose(2, 3))
    return torch.cat(parts).to(torch.uint8)


class _Taps(NamedTuple):
    """The pixels of which each pixel of an output is a mean: [n, outputs, taps] each."""

    indices: np.ndarray
    weights: np.ndarray
    """in units of 2^-22; they add up to 1"""


def _taps(begins: np.ndarray, lengths: np.ndarray, outputs: int, most: int) -> _Taps:
    """The taps for `outputs` pixels of each part [begin, begin + length) of a line of `most`."""
    scale = lengths[:, None] / outputs
    support = np.maximum(scale, 1.0)  # a wider filter where there are more pixels than outputs
    centres = (np.arange(outputs) + 0.5) * scale
    low = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centres + support + 0.5).astype(np.int64), lengths[:, None])
    indices = low[..., None] + np.arange((high - low).max())
    away = np.abs((indices - centres[..., None] + 0.5) * (1 / support)[..., None])
    weights = np.where(indices < high[..., None], np.maximum(1 - away, 0.0), 0.0)
    weights /= weights.cumsum(axis=-1)[..., -1:]
    places = np.minimum(begins[:, None, None] + indices, most - 1)
    return _Taps(places, (weights * (1 << _BITS) + 0.5).astype(np.int32))


def _along_last(images: Tensor, taps: _Taps) -> Tensor:
    """Each output of the last dimension of `images [n, c, h, w]`: the rounded mean of its taps."""
    n, outputs, count = taps.indices.shape
    indices = torch.from_numpy(taps.indices).to(images.device)
    weights = torch.from_numpy(taps.weights).to(images.device)
    shape = (*images.shape[:3], outputs)
    total = torch.full(shape, 1 << (_BITS - 1), dtype=torch.int32, device=images.device)
    for tap in range(count):
        chosen = indices[:, :, tap].view(n, 1, 1, outputs).expand(shape)
        total += images.gather(3, chosen) * weights[:, :, tap].view(n, 1, 1, outputs)
    return (total >> _BITS).clamp_(0, 255)
