"""The table of sources: each says what it is, takes the options it names, and says what is missing
and where.
"""

import gzip
import pickle
import re
import struct
import sys

import numpy as np
import pytest

from mpifl import vision
from mpifl.data.published import PUBLISHED
from mpifl.data.sources import SOURCES
from mpifl.options import BadInput


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_has_a_summary_and_refuses_unknown_options(name):
    assert SOURCES[name].summary
    with pytest.raises(BadInput, match=r"expected an option among .*; got 'sise'"):
        SOURCES[name].load(sise=3)


def test_options_are_listed_with_their_defaults():
    assert SOURCES["digits"].options == {"held_out": 0.2, "seed": 0}
    assert SOURCES["cifar10"].options == {}
    assert "size" in SOURCES["images"].options


@pytest.mark.parametrize(
    ("name", "folder", "fetched"),
    [
        ("cifar10", "cifar-10-batches-py", "/cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python", "/cifar-100-python.tar.gz"),
        ("mnist", "MNIST/raw", "/mnist/{train-images-idx3,"),
        ("fashionmnist", "FashionMNIST/raw", "/{train-images-idx3,"),
        ("svhn", "", "/{train,test}_32x32.mat"),
    ],
)
def test_missing_files_say_where_they_were_looked_for_and_how_to_get_them(
    tmp_path, name, folder, fetched
):
    with pytest.raises(BadInput) as caught:
        SOURCES[name].load(tmp_path)
    assert str(tmp_path / folder) in str(caught.value)
    assert "--download" in str(caught.value)
    assert re.search(rf"fetch https?://\S*{re.escape(fetched)}", str(caught.value))
    assert "\n" not in str(caught.value)


def test_missing_image_folders_are_named(tmp_path):
    with pytest.raises(BadInput, match=f"no folder at {tmp_path / 'none'}"):
        SOURCES["images"].load(tmp_path / "none")
    with pytest.raises(BadInput, match="got no --root"):
        SOURCES["images"].load()


def test_a_forged_cifar_pickle_is_not_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('it ran')",))

    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadInput, match="corrupted"):
        SOURCES["cifar100"].load(tmp_path)


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashionmnist", "FashionMNIST")])
def test_grey_images_are_read_with_one_channel(tmp_path, name, folder):
    raw = tmp_path / folder / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 10
    for split in ("train", "t10k"):
        for kind, values in (("images-idx3", pixels), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
            content = header + values.tobytes()
            (raw / f"{split}-{kind}-ubyte").write_bytes(content)
            (raw / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    dataset = SOURCES[name].load(tmp_path)
    assert (dataset.name, dataset.shape, len(dataset.classes)) == (name, (1, 28, 28), 10)
    np.testing.assert_array_equal(dataset.train.images[:, 0], pixels)
    np.testing.assert_array_equal(dataset.test.labels, labels)


def test_digits_are_split_by_class_and_span_the_range():
    dataset = SOURCES["digits"].load()
    assert (dataset.shape, len(dataset.train), len(dataset.test)) == ((1, 8, 8), 1438, 359)
    assert (dataset.train.images.min(), dataset.train.images.max()) == (0, 255)
    for split in (dataset.train, dataset.test):
        assert np.ptp(np.bincount(split.labels, minlength=10) / len(split)) < 0.01
    assert (
        dataset.checksum
        == SOURCES["digits"].load().checksum
        != SOURCES["digits"].load(seed=1).checksum
    )


def test_digits_are_those_of_finished_runs():
    assert SOURCES["digits"].load().checksum.startswith("21dade35e41f2ca1")
    assert SOURCES["digits"].load(seed=1).checksum.startswith("feef1592fbf0e6c3")


@pytest.mark.slow
def test_digits_are_those_that_scikit_learn_loads():
    datasets = pytest.importorskip("sklearn.datasets")
    dataset, raw = SOURCES["digits"].load(), datasets.load_digits()
    images = np.concatenate([dataset.train.images, dataset.test.images]).reshape(-1, 64)
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    ours = np.column_stack([images, labels])
    theirs = np.column_stack([np.rint(raw.data * (255 / 16)), raw.target])
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


@pytest.mark.parametrize("library", ["sklearn", "torchvision", "scipy"])
def test_digits_need_no_other_library(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    assert len(SOURCES["digits"].load().train) == 1438


@pytest.mark.parametrize("name", [published.name for published in PUBLISHED])
def test_without_torchvision_one_line_says_what_to_install(monkeypatch, tmp_path, name):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    vision.torchvision.cache_clear()
    with pytest.raises(BadInput) as caught:
        SOURCES[name].load(tmp_path)
    assert str(caught.value).startswith(f"data.{name}: expected torchvision, ")
    assert str(caught.value).endswith("; `pip install 'mpifl[vision]'`")
    assert "\n" not in str(caught.value)


def test_a_table_of_hugging_face_without_datasets_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(BadInput) as caught:
        SOURCES["hf"].load(tmp_path)
    assert str(caught.value).startswith("data.hf: expected the package datasets; got: ")
    assert str(caught.value).endswith("; `pip install 'mpifl[datasets]'`")


def test_svhn_without_scipy_says_to_install_it(monkeypatch, tmp_path):
    def reads_by_scipy(*args, **options):
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr(vision.datasets(), "SVHN", reads_by_scipy)
    with pytest.raises(BadInput, match="data.svhn: expected scipy, .*; `pip install scipy`$"):
        SOURCES["svhn"].load(tmp_path)
