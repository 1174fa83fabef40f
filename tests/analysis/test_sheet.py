"""A sheet of samples: each tile is an image of the file, in the row of its class and the block of
its domain; counts are those of the part.
"""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mpifl.analysis.sheet import draw, figure, sheet
from mpifl.cli import main
from mpifl.data import packed
from mpifl.data.dataset import Split, assemble

COUNTS = {("photo", 0): 3, ("photo", 1): 1, ("art", 1): 5}
"""training samples of (domain, class); the test has one of each"""
DOMAINS = ["photo", "art", "sketch"]


def split(counts, channels, shape):
    """A part in which all pixels of an image are its number, from 10 on."""
    pairs = [pair for pair, count in counts.items() for _ in range(count)]
    numbers = np.arange(10, 10 + len(pairs), dtype=np.uint8)
    images = np.broadcast_to(numbers[:, None, None, None], (len(pairs), channels, *shape)).copy()
    labels = np.array([label for _, label in pairs])
    return Split(images, labels, np.array([DOMAINS.index(domain) for domain, _ in pairs]))


@pytest.fixture
def pack(tmp_path):
    def packs(channels=3, shape=(6, 4), domains=True):
        train = split(COUNTS, channels, shape)
        test = split(dict.fromkeys(COUNTS, 1), channels, shape)
        if not domains:
            train, test = (Split(part.images, part.labels) for part in (train, test))
        names = ["$cat$", "dog", "eel"]
        made = assemble("pets", train, test, names, "a test", DOMAINS if domains else ())
        packed.write(made, tmp_path / "pets.h5")
        return tmp_path / "pets.h5"

    return packs


def tiles(block, rows, across, shape):
    """The value of each tile [rows, across]; 255 where there is none."""
    height, width = shape
    grid = block.mosaic.reshape(rows, height + 1, across, width + 1, 3)[:, :height, :, :width]
    assert (grid == grid[:, :1, :, :1, :1]).all()
    return grid[:, 0, :, 0, 0].tolist()


def test_rows_are_classes_and_blocks_domains(pack):
    made = sheet(pack(), "train", 20, 2)
    assert made.title == "pets, train: 9 samples of 3 x 6 x 4"
    assert made.classes == ["$cat$", "dog", "eel"]
    assert [block.title for block in made.blocks] == ["photo  4", "art  5", "sketch  0"]
    assert [block.rows for block in made.blocks] == [["3", "1", "0"], ["0", "5", "0"], ["0"] * 3]
    photo, art, sketch = (tiles(block, 3, 2, (6, 4)) for block in made.blocks)
    assert photo == [[10, 12], [13, 255], [255, 255]]
    assert art == [[255, 255], [14, 18], [255, 255]]
    assert sketch == [[255, 255]] * 3


def test_the_test_part_has_its_own_samples(pack):
    made = sheet(pack(), "test", 20, 1)
    assert made.title.startswith("pets, test: 3 samples")
    assert [block.rows for block in made.blocks] == [["1", "1", "0"], ["0", "1", "0"], ["0"] * 3]
    assert tiles(made.blocks[1], 3, 1, (6, 4)) == [[255], [12], [255]]


@pytest.mark.parametrize(
    ("channels", "told"), [(1, ""), (2, ", channel 0 shown"), (4, ", channels 0 to 2 shown")]
)
def test_without_domains_there_is_one_block_of_eight_whatever_the_channels(pack, channels, told):
    made = sheet(pack(channels, domains=False), "train", 2, 0)
    assert made.title == (
        f"pets, train: 9 samples of {channels} x 6 x 4{told}; the first 2 of 3 classes"
    )
    assert tiles(made.blocks[0], 2, 8, (6, 4)) == [
        [10, 11, 12, *[255] * 5],
        [13, 14, 15, 16, 17, 18, 255, 255],
    ]


def test_large_images_are_made_smaller(pack):
    [block, *_] = sheet(pack(shape=(200, 100)), "train", 20, 1).blocks
    assert block.mosaic.shape == (3 * (96 + 6), 48 + 6, 3)


def test_the_figure_says_names_and_counts(pack):
    drawn = figure(sheet(pack(), "train", 20, 0))
    words = [[tick.get_text() for tick in axes.get_yticklabels()] for axes in drawn.axes]
    assert words[0] == [r"\$cat\$  3", "dog  1", "eel  0"]
    assert [words_of_row.strip() for words_of_row in words[1]] == ["0", "5", "0"]
    assert [axes.get_title() for axes in drawn.axes] == ["photo  4", "art  5", "sketch  0"]


def test_the_same_file_gives_the_same_picture(pack, tmp_path):
    for name in ("a.png", "b.png"):
        draw(pack(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size > (500, 200)


def test_the_command_draws_and_says_where(pack, tmp_path):
    out = tmp_path / "new" / "x.svg"
    done = CliRunner().invoke(main, ["data", "show", str(pack()), "--part", "test", "-o", str(out)])
    assert (done.exit_code, done.output) == (0, f"written to {out}\n")
    assert out.read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.h5"], "data.path: expected a data file; got nothing at "),
        ([__file__], "data.path: expected a data file packed by `mpifl data`; got "),
        ([__file__, "-o", "x.gif"], "x.gif: expected a name ending in .png, .pdf, .svg; got .gif"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(arguments, message):
    done = CliRunner().invoke(main, ["data", "show", *arguments])
    assert done.exit_code == 2
    assert done.output.startswith(f"mpifl: {message}")
    assert done.output.count("\n") == 1


def test_help_of_both_commands_is_told():
    show = CliRunner().invoke(main, ["data", "show", "--help"])
    assert "mpifl data show data/pacs.h5" in show.output.replace("main ", "mpifl ")
    pack = CliRunner().invoke(main, ["data", "--help"])
    assert "mpifl data show" in pack.output
