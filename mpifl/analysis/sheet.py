"""A sheet of samples of a packed data set: a row for each class, a block for each domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mpifl.analysis.figures.matplotlib_figures import rendered, styled
from mpifl.analysis.files import write
from mpifl.data import packed

_LARGEST = 96  # pixels of a side; larger images are made smaller
_CELL = 0.42  # inches of a sample
_INCHES_OF_CHARACTER = 0.065
_OF_COUNT = 8  # characters before a block
_HEAD = 0.6  # inches of titles
_INCHES_OF_LINE = 0.14
_MOST_CHARACTERS = 24  # of a class name
_MOST_DOMAINS = 8
_WHITE = 255


@dataclass(frozen=True)
class Block:
    """The samples of one domain, or of all where there are none."""

    title: str
    rows: list[str]
    """a line for each class: how many samples it has here"""
    mosaic: np.ndarray
    """uint8 [height, width, 3]"""


@dataclass(frozen=True)
class Sheet:
    """What is drawn of a data set."""

    title: str
    classes: list[str]
    blocks: list[Block]
    across: int
    """samples of a class in a block"""


def draw(path: Path, out: Path, part: str = "train", classes: int = 20, across: int = 0) -> None:
    """Write a picture of samples in the packed file `path`, and say so.

    `part`: train or test. `classes`: at most so many, the first ones. `across`: samples of each
    class in each domain, by default 8, or 4 with domains; they are spread evenly over the part.
    Raises BadInput as `packed.read` does, and OSError.
    """
    made = sheet(path, part, classes, across)
    write(out, rendered(figure(made), out.suffix.removeprefix(".")))


def sheet(path: Path, part: str, classes: int, across: int) -> Sheet:
    """The samples that are drawn, as `draw` says."""
    content = packed.describe(path)
    of_train = part == "train"
    labels = content.labels if of_train else content.test_labels
    domains = content.domains if of_train else content.test_domains
    across = across or (8 if domains is None else 4)
    shown = content.classes[:classes]
    blocks = []
    if domains is None:
        groups = {"": np.ones(len(labels), dtype=bool)}
    else:
        names = content.domain_names[:_MOST_DOMAINS]
        groups = {name: domains == number for number, name in enumerate(names)}
    for name, is_in in groups.items():
        members = [np.flatnonzero(is_in & (labels == number)) for number in range(len(shown))]
        chosen = [spread(indices, across) for indices in members]
        title = f"{name}  {np.count_nonzero(is_in):,}" if name else ""
        rows = [f"{len(indices):,}" for indices in members]
        blocks.append(Block(title, rows, _mosaic(path, part, chosen, content.shape, across)))
    return Sheet(_title(content, part, len(labels), len(shown)), list(shown), blocks, across)


def spread(indices: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of these, from the first to the last.

    >>> spread(np.arange(10, 20), 4).tolist(), spread(np.arange(2), 4).tolist()
    ([10, 13, 16, 19], [0, 1])
    """
    if len(indices) <= count:
        return indices
    return indices[np.rint(np.linspace(0, len(indices) - 1, count)).astype(np.int64)]


def _title(content: packed.Description, part: str, samples: int, shown: int) -> str:
    channels, height, width = content.shape
    title = f"{content.name}, {part}: {samples:,} samples of {channels} x {height} x {width}"
    if channels not in (1, 3):
        title += f", channel{' 0' if channels < 3 else 's 0 to 2'} shown"
    if shown < len(content.classes):
        title += f"; the first {shown} of {len(content.classes)} classes"
    if len(content.domain_names) > _MOST_DOMAINS:
        title += f"; the first {_MOST_DOMAINS} of {len(content.domain_names)} domains"
    return title


def _mosaic(
    path: Path, part: str, chosen: Sequence[np.ndarray], shape: tuple[int, int, int], across: int
) -> np.ndarray:
    """uint8 [h, w, 3]: a row of samples for each class, with white between them."""
    images = packed.images(path, part, np.concatenate(chosen))
    height, width = _fitting(shape[1], shape[2])
    gap = max(1, height // 16)
    mosaic = np.full((len(chosen) * (height + gap), across * (width + gap), 3), _WHITE, np.uint8)
    number = 0
    for row, indices in enumerate(chosen):
        for place in range(len(indices)):
            top = row * (height + gap)
            left = place * (width + gap)
            tile = _tile(images[number], (height, width))
            mosaic[top : top + height, left : left + width] = tile
            number += 1
    return mosaic


def _fitting(height: int, width: int) -> tuple[int, int]:
    """The size in which an image is drawn, at most _LARGEST pixels a side."""
    factor = min(1.0, _LARGEST / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _tile(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image [c, h, w] as colours or grey, uint8 [height, width, 3]."""
    if len(image) < 3:
        image = np.repeat(image[:1], 3, axis=0)
    colours = Image.fromarray(np.ascontiguousarray(image[:3].transpose(1, 2, 0)))
    height, width = size
    return np.asarray(colours.resize((width, height), Image.Resampling.BOX))


@styled
def figure(made: Sheet) -> Figure:
    """The sheet as a figure: class names at the left, counts before each row of samples."""
    names = [_shortened(name) for name in made.classes]
    first = made.blocks[0].mosaic
    pixels_in_inch = first.shape[1] / (made.across * _CELL)
    of_samples = len(made.blocks) * first.shape[1] / pixels_in_inch
    characters = max(len(name) for name in names) + _OF_COUNT * len(made.blocks)
    width = of_samples + _INCHES_OF_CHARACTER * characters
    title = fill(_literal(made.title), max(20, round(width / _INCHES_OF_CHARACTER)))
    of_titles = _HEAD + _INCHES_OF_LINE * title.count("\n")
    height = first.shape[0] / pixels_in_inch + of_titles
    drawn = Figure((width, height), layout="constrained")
    drawn.suptitle(title, size=8)
    places = drawn.subplots(1, len(made.blocks), squeeze=False).ravel()
    for number, (axes, block) in enumerate(zip(places, made.blocks, strict=True)):
        _draw(axes, block, names if number == 0 else [""] * len(names))
    return drawn


def _shortened(name: str) -> str:
    if len(name) > _MOST_CHARACTERS:
        name = f"{name[: _MOST_CHARACTERS - 3]}..."
    return _literal(name)


def _literal(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def _draw(axes: Axes, block: Block, names: Sequence[str]) -> None:
    axes.imshow(block.mosaic, interpolation="nearest")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    row = block.mosaic.shape[0] / len(names)
    ticks = [row * (number + 0.5) - 0.5 for number in range(len(names))]
    words = [f"{name}  {count}" for name, count in zip(names, block.rows, strict=True)]
    axes.set_yticks(ticks, words)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_title(_literal(block.title))
