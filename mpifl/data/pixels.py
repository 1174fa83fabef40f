"""One image file as RGB or grey pixels, for every mode of Pillow.

Colours, palettes and grey values of 8 bits are converted by Pillow, which keeps the high byte of
colours of 16 bits. Where grey is asked for, colours become their luma (ITU-R 601-2). Grey values of
16 bits are scaled to 0..255 from the range that the file defines. Floats, signed integers and
integers of 32 bits are refused: no file says which of their values is black and which is white. An
alpha channel is left out. Of a file with several images, the first is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from mpifl.options import BadInput

_OF_8_BITS = frozenset(
    {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
)
_OF_16_BITS = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_SCALED_TO_16_BITS = frozenset({"PNG", "PPM"})
"""formats whose grey values of more than 8 bits Pillow gives as mode I, of 0..65535"""
_UNSIGNED = 1  # of TIFF's SampleFormat
_BLACK_IS_ZERO = 1  # of TIFF's PhotometricInterpretation
_WHITE_IS_ZERO = 0
_MOST_PIXELS = 178_956_970  # which is Pillow's limit for an image in a file
_NO_RANGE = "the file does not say which value is black and which is white: save it with 8 bits"


_MODES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with alpha",
    "P": "palette",
    "PA": "palette with alpha",
    "RGB": "RGB",
    "RGBA": "RGB with alpha",
    "RGBa": "RGB with alpha",
    "RGBX": "RGB",
    **dict.fromkeys((*_OF_16_BITS, "I"), "grey of more than 8 bits"),
}
"""Pillow's modes in words; the others are their own name"""
_GREY_MODES = frozenset({"1", "L", "LA", "I", *_OF_16_BITS})
GREY = 1
RGB = 3
AS_FILES = 0
"""channels: 1 if all files are grey, else 3"""


class UnreadableImage(BadInput):
    """An image file that cannot be read, and why. `path` may also be its place in a file."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"data: expected an image in {path}; got {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Picture:
    """The pixels of one image file, and what Pillow calls their kind."""

    pixels: np.ndarray
    """uint8 [c, h, w]"""
    mode: str


def read_pixels(path: Path, size: int, channels: int = RGB) -> np.ndarray:
    """The image of one file, uint8 [channels, size, size]. Raises as `read_picture` does."""
    return read_picture(path, path, size, channels).pixels


def read_picture(file: Path | BytesIO, path: Path, size: int, channels: int = RGB) -> Picture:
    """The image in a file, or in its bytes, which errors call `path`.

    Its shorter side is resized to `size` (bicubic, antialiased), and its centre is cut out; with
    size 0 it stays as it is. It has GREY or RGB channels. Raises UnreadableImage if that is not
    possible.
    """
    try:
        if isinstance(file, Path):
            _refuse_devices(file)
        with Image.open(file) as opened:
            mode = opened.mode
            image = _rgb(opened)
        if channels == GREY:
            image = image.convert("L")
        return Picture(square(image, size) if size else _channels_first(image), mode)
    except UnidentifiedImageError as error:
        reason = "a file that is damaged, or no image of a kind that Pillow reads"
        raise UnreadableImage(path, reason) from error
    except Exception as error:  # Pillow's readers can raise anything for a broken file
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableImage(path, reason.removesuffix(".")) from error


def check_channels(where: str, channels: int) -> None:
    """Raise BadInput for a number of channels that images cannot be read with."""
    if channels not in (AS_FILES, GREY, RGB):
        raise BadInput(
            f"{where}: channels: expected 3 (RGB), 1 (grey) or 0 (grey if all images are, else "
            f"RGB); got {channels}"
        )


def channels_of(channels: int, modes: Iterable[str]) -> int:
    """GREY or RGB: what is asked for, or as files of these modes are."""
    if channels != AS_FILES:
        return channels
    return GREY if set(modes) <= _GREY_MODES else RGB


def conversion(channels: int, modes: Iterable[str]) -> str:
    """What images of these modes have become, in words.

    >>> conversion(RGB, ["RGB", "RGB", "L"])
    'as RGB, of 2 RGB, 1 grey'
    >>> conversion(RGB, ["RGB"])
    'as RGB'
    """
    target = "grey" if channels == GREY else "RGB"
    counts = Counter(_MODES.get(mode, mode) for mode in modes)
    if set(counts) == {target}:
        return f"as {target}"
    found = ", ".join(f"{count:,} {words}" for words, count in counts.most_common())
    return f"as {target}, of {found}"


def _refuse_devices(path: Path) -> None:
    """Raise BadInput for a pipe or device, which Pillow would wait for."""
    if path.exists() and not path.is_file():
        raise BadInput("something that is no regular file")


def _rgb(file: Image.Image) -> Image.Image:
    if _tag(file, TiffImagePlugin.SAMPLEFORMAT, _UNSIGNED) != _UNSIGNED:
        # Pillow reads signed values of 8 bits as if they were unsigned.
        raise BadInput(f"a TIFF of signed or float values; {_NO_RANGE}")
    if file.mode in _OF_8_BITS:
        return file.convert("RGB")
    white = _white(file)
    values = np.asarray(file)
    photometric = _tag(file, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, _BLACK_IS_ZERO)
    if photometric == _WHITE_IS_ZERO:
        values = white - values  # Pillow does so for 8 bits only
    grey = np.rint(values * (255 / white)).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _white(file: Image.Image) -> int:
    """The largest grey value of the file's range. Raises BadInput where it defines no range."""
    if file.mode in _OF_16_BITS:
        bits = _tag(file, TiffImagePlugin.BITSPERSAMPLE, 16)
        return 2**bits - 1
    if file.mode == "I" and file.format in _SCALED_TO_16_BITS:
        return 2**16 - 1
    raise BadInput(f"a {file.format} file of Pillow's mode {file.mode}; {_NO_RANGE}")


def _tag(file: Image.Image, number: int, default: int) -> int:
    """A TIFF's tag, of its first channel. The default if it is not there, or the file no TIFF."""
    if not isinstance(file, TiffImagePlugin.TiffImageFile):
        return default
    value = file.tag_v2.get(number, default)
    return value[0] if isinstance(value, tuple) else value


def square(image: Image.Image, size: int) -> np.ndarray:
    """The centre of an image whose shorter side is resized to `size`: uint8 [c, size, size].

    Raises BadInput for one that is too long for its width.
    """
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if width * height > _MOST_PIXELS:
        raise BadInput(f"one of {image.width} x {image.height} pixels: too long for its width")
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left = (width - size) // 2
    top = (height - size) // 2
    return _channels_first(image.crop((left, top, left + size, top + size)))


def _channels_first(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
