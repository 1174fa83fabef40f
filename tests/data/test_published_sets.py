"""Sets that torchvision reads, on small made files as they are published: images are upright,
labels begin at 0, and what is wrong is said in one line.
"""

import json
import struct

import numpy as np
import pytest
from PIL import Image

from mpifl import vision
from mpifl.data.published import PUBLISHED
from mpifl.data.published_files import PUBLISHED_FILES
from mpifl.data.sources import SOURCES
from mpifl.options import BadInput

CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)


def idx(path, values):
    """A file of MNIST's format, which begins with the shape."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def emnist(root, split, labels, pixels=PIXELS):
    for part in ("train", "test"):
        start = root / "EMNIST" / "raw" / f"emnist-{split}-{part}"
        idx(start.with_name(f"{start.name}-images-idx3-ubyte"), pixels.transpose(0, 2, 1))
        idx(start.with_name(f"{start.name}-labels-idx1-ubyte"), labels)


@pytest.mark.parametrize(
    ("split", "first", "names"),
    [
        ("byclass", 0, (*"0123456789", *CAPITALS, *CAPITALS.lower())),
        ("balanced", 0, (*"0123456789", *CAPITALS, *"abdefghnqrt")),
        ("letters", 1, tuple(CAPITALS.lower())),
        ("digits", 0, tuple("0123456789")),
    ],
)
def test_emnist_is_upright_and_its_labels_begin_at_0(tmp_path, split, first, names):
    labels = np.arange(20) % len(names)
    emnist(tmp_path, split, labels + first)
    dataset = SOURCES[f"emnist-{split}"].load(tmp_path)
    assert (dataset.name, dataset.shape, dataset.classes) == (
        f"emnist-{split}",
        (1, 28, 28),
        names,
    )
    np.testing.assert_array_equal(dataset.train.images[:, 0], PIXELS)
    np.testing.assert_array_equal(dataset.test.labels, labels)


def test_emnist_s_class_names_are_those_of_torchvision():
    of_torchvision = vision.datasets().EMNIST.classes_split_dict
    for published in PUBLISHED:
        if published.maker == "EMNIST":
            names = of_torchvision[published.parts[0]["split"]]
            assert list(published.classes) == [name for name in names if name != "N/A"]


def test_emnist_s_letters_without_a_label_are_refused(tmp_path):
    emnist(tmp_path, "letters", np.arange(20))
    with pytest.raises(BadInput, match=r"expected labels in 0..25; got -1..18"):
        SOURCES["emnist-letters"].load(tmp_path)


def test_a_broken_file_is_told_in_one_line(tmp_path):
    emnist(tmp_path, "digits", np.arange(20) % 10)
    path = tmp_path / "EMNIST" / "raw" / "emnist-digits-test-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BadInput, match="data.emnist-digits: expected EMNIST's files in") as caught:
        SOURCES["emnist-digits"].load(tmp_path)
    assert "\n" not in str(caught.value)


def test_kmnist_is_read_as_mnist_is(tmp_path):
    for part in ("train", "t10k"):
        idx(tmp_path / "KMNIST" / "raw" / f"{part}-images-idx3-ubyte", PIXELS)
        idx(tmp_path / "KMNIST" / "raw" / f"{part}-labels-idx1-ubyte", np.arange(20) % 10)
    dataset = SOURCES["kmnist"].load(tmp_path)
    assert dataset.classes == ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    np.testing.assert_array_equal(dataset.test.images[:, 0], PIXELS)


def test_stl10_is_upright_and_its_labels_begin_at_0(tmp_path, monkeypatch):
    # Made files have other checksums than the published ones.
    monkeypatch.setattr(vision.datasets().STL10, "_check_integrity", lambda self: True)
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    names = [f"kind {number}" for number in range(10)]
    (folder / "class_names.txt").write_text("\n".join(names))
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 96, 96), dtype=np.uint8)
    for part in ("train", "test"):
        (folder / f"{part}_X.bin").write_bytes(pixels.transpose(0, 1, 3, 2).tobytes())
        (folder / f"{part}_y.bin").write_bytes(np.arange(1, 11, dtype=np.uint8).tobytes())
    dataset = SOURCES["stl10"].load(tmp_path)
    assert dataset.classes == tuple(names)
    np.testing.assert_array_equal(dataset.train.images, pixels)
    np.testing.assert_array_equal(dataset.test.labels, np.arange(10))


COLOURS = {"a": (250, 10, 20), "b": (10, 240, 30)}


def paint(path, name, size=(20, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS[name]).save(path)


def pets(root):
    folder = root / "oxford-iiit-pet"
    for part in ("trainval", "test"):
        lines = []
        for number, name in enumerate(COLOURS):
            paint(folder / "images" / f"{name}_{part}.jpg", name)
            lines.append(f"{name}_{part} {number + 1} 1 1\n")
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"{part}.txt").write_text("".join(lines))
    return folder / "images" / "b_test.jpg"


def dtd(root):
    folder = root / "dtd" / "dtd"
    for part in ("train", "test"):
        for name in COLOURS:
            paint(folder / "images" / name / f"{part}.jpg", name)
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{part}1.txt").write_text(f"a/{part}.jpg\nb/{part}.jpg\n")
    return folder / "images" / "b" / "test.jpg"


def aircraft(root):
    folder = root / "fgvc-aircraft-2013b" / "data"
    for part in ("trainval", "test"):
        for name in COLOURS:
            paint(folder / "images" / f"{name}{part}.jpg", name)
        lines = [f"{name}{part} {name.upper()}\n" for name in COLOURS]
        (folder / f"images_variant_{part}.txt").write_text("".join(lines))
    (folder / "variants.txt").write_text("A\nB\n")
    return folder / "images" / "btest.jpg"


def food101(root):
    folder = root / "food-101"
    for part in ("train", "test"):
        for name in COLOURS:
            paint(folder / "images" / name / f"{part}.jpg", name)
        (folder / "meta").mkdir(exist_ok=True)
        content = {name: [f"{name}/{part}"] for name in COLOURS}
        (folder / "meta" / f"{part}.json").write_text(json.dumps(content))
    return folder / "images" / "b" / "test.jpg"


def gtsrb(root):
    folder = root / "gtsrb"
    lines = ["Filename;Width;Height;ClassId\n"]
    for number, name in enumerate(COLOURS):
        paint(folder / "GTSRB" / "Training" / f"0000{number}" / "0.ppm", name)
        paint(folder / "GTSRB" / "Final_Test" / "Images" / f"{number}.ppm", name)
        lines.append(f"{number}.ppm;1;1;{number}\n")
    (folder / "GT-final_test.csv").write_text("".join(lines))
    return folder / "GTSRB" / "Final_Test" / "Images" / "1.ppm"


FILES = {"pets": pets, "dtd": dtd, "aircraft": aircraft, "food101": food101, "gtsrb": gtsrb}


@pytest.mark.parametrize("name", FILES)
def test_sets_of_image_files_become_squares(tmp_path, name):
    FILES[name](tmp_path)
    dataset = SOURCES[name].load(tmp_path, size=8)
    assert (dataset.name, dataset.shape) == (name, (3, 8, 8))
    for split in (dataset.train, dataset.test):
        assert split.images.mean(axis=(2, 3)).argmax(axis=1).tolist() == [0, 1]
        assert split.labels.tolist() == [0, 1]
    assert len(dataset.classes) == (43 if name == "gtsrb" else 2)


def test_flowers_are_those_of_the_training_and_the_test_part_alone(tmp_path, monkeypatch):
    io = pytest.importorskip("scipy.io", reason="needs scipy, by which torchvision reads labels")
    # Made files have other checksums than the published ones.
    monkeypatch.setattr(vision.datasets().Flowers102, "_check_integrity", lambda self: True)
    folder = tmp_path / "flowers-102"
    for number, name in enumerate("abab", start=1):
        paint(folder / "jpg" / f"image_{number:05d}.jpg", name)
    io.savemat(folder / "imagelabels.mat", {"labels": [[1, 102, 1, 102]]})
    parts = {"trnid": [[1, 2]], "valid": [[3, 3]], "tstid": [[4, 3]]}
    io.savemat(folder / "setid.mat", parts)
    dataset = SOURCES["flowers102"].load(tmp_path, size=8)
    assert (len(dataset.classes), dataset.classes[-1]) == (102, "102")
    assert dataset.train.labels.tolist() == [0, 101]
    assert dataset.test.labels.tolist() == [101, 0]
    assert dataset.test.images.mean(axis=(2, 3)).argmax(axis=1).tolist() == [1, 0]


def test_an_image_that_cannot_be_read_is_named_by_its_number(tmp_path):
    dtd(tmp_path).write_bytes(b"rubbish")
    with pytest.raises(BadInput, match=r"data.dtd: expected an image; got: cannot .*\(number 1 of"):
        SOURCES["dtd"].load(tmp_path)


@pytest.mark.parametrize("published", PUBLISHED_FILES, ids=lambda published: published.name)
def test_missing_files_say_where_they_were_looked_for_and_how_to_get_them(tmp_path, published):
    with pytest.raises(BadInput) as caught:
        SOURCES[published.name].load(tmp_path)
    assert str(tmp_path / published.published.folder) in str(caught.value)
    assert "--download" in str(caught.value)
    assert "fetch http" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_squares_of_no_pixels_are_refused(tmp_path):
    dtd(tmp_path)
    with pytest.raises(BadInput, match="data.dtd: expected size >= 1; got 0"):
        SOURCES["dtd"].load(tmp_path, size=0)
