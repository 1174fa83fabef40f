"""Arrays in an .npz file: each layout and type of values becomes the same data set, clients and
domains are kept, and what is wrong is said with the file and the array.
"""

import os

import numpy as np
import pytest

import mpifl
from mpifl.data import packed
from mpifl.data.arrays import load
from mpifl.data.prepare import pack_source
from mpifl.options import BadInput

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(24) % 3
FIRST = PIXELS.transpose(0, 3, 1, 2)


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def parts(path, images=PIXELS, labels=LABELS, **others):
    """A file of 18 training and 6 test samples."""
    arrays = {"images": images, "labels": labels, **others}
    named = {}
    for name, values in arrays.items():
        named[f"train_{name}"] = values[:18]
        named[f"test_{name}"] = values[18:]
    return saved(path, **named)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npz"


IMAGES = {
    "uint8, channels last": (PIXELS, {}),
    "uint8, channels first": (FIRST, {}),
    "uint8, in Fortran's order": (np.asfortranarray(PIXELS), {}),
    "uint16": (PIXELS.astype(np.uint16) * 257, {}),
    "int64": (PIXELS.astype(np.int64), {}),
    "float32 of 0 to 1": ((PIXELS / 255).astype(np.float32), {}),
    "float64 of 0 to 1": (PIXELS / 255, {}),
    "big-endian floats": ((PIXELS / 255).astype(">f4"), {}),
    "float32 of 0 to 255": (PIXELS.astype(np.float32), {"values": (0, 255)}),
    "float32 of -1 to 1": ((PIXELS / 127.5 - 1).astype(np.float32), {"values": (-1.0, 1.0)}),
    "a layout that is said": (PIXELS, {"layout": "nhwc"}),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_every_type_and_layout_are_the_same_data(path, name):
    images, options = IMAGES[name]
    dataset = load(parts(path, images), **options)
    assert (dataset.name, dataset.shape, dataset.classes) == ("mine", (3, 8, 8), ("0", "1", "2"))
    np.testing.assert_array_equal(dataset.train.images, FIRST[:18])
    np.testing.assert_array_equal(dataset.test.images, FIRST[18:])
    np.testing.assert_array_equal(dataset.train.labels, LABELS[:18])
    assert dataset.source == "arrays of mine.npz; test images: the part test"
    assert (dataset.train.domains, dataset.train.clients) == (None, None)


def test_grey_images_have_one_channel(path):
    dataset = load(parts(path, PIXELS[..., 0]))
    np.testing.assert_array_equal(dataset.train.images[:, 0], PIXELS[:18, :, :, 0])


def test_an_image_of_zeros_and_ones_is_black_and_white(path):
    dataset = load(parts(path, PIXELS[..., 0] > 127))
    assert np.unique(dataset.train.images).tolist() == [0, 255]


def test_few_rows_and_columns_need_a_layout(path):
    small = PIXELS[:, :4, :4]
    with pytest.raises(BadInput, match=r"train_images: .*; got uint8 \[18, 4, 4, 3\]; say which"):
        load(parts(path, small))
    assert load(path, layout="nhwc").shape == (3, 4, 4)
    assert load(path, layout="nchw").shape == (4, 4, 3)


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("training_data", "training_targets", "test_data", "test_targets"),
        ("Train-Images", "Train-Labels", "Test-Images", "Test-Labels"),
    ],
)
def test_the_usual_names_of_arrays_are_understood(path, names):
    arrays = (PIXELS[:18], LABELS[:18], PIXELS[18:], LABELS[18:])
    dataset = load(saved(path, **dict(zip(names, arrays, strict=True))))
    assert (len(dataset.train), len(dataset.test)) == (18, 6)


def test_a_validation_part_is_the_test_only_if_asked_for_and_told_otherwise(path, capsys):
    # As in the files of MedMNIST, whose labels are [n, 1].
    arrays = {}
    for part, rows in (("train", slice(10)), ("val", slice(10, 14)), ("test", slice(14, 24))):
        arrays[f"{part}_images"] = PIXELS[rows]
        arrays[f"{part}_labels"] = LABELS[rows, None].astype(np.uint8)
    dataset = load(saved(path, **arrays))
    assert (len(dataset.train), len(dataset.test)) == (10, 10)
    assert "passed over val of" in capsys.readouterr().err
    assert len(load(path, test="val").test) == 4


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_of_medmnist_is_packed(tmp_path, capsys, channels):
    images = PIXELS[..., 0] if channels == 1 else PIXELS
    arrays = {}
    for part, rows in (("train", slice(12)), ("val", slice(12, 16)), ("test", slice(16, 24))):
        arrays[f"{part}_images"] = images[rows]
        arrays[f"{part}_labels"] = LABELS[rows, None].astype(np.uint8)
    path = tmp_path / "somemnist_64.npz"
    np.savez_compressed(path, **arrays)
    pack_source("arrays", tmp_path / "m.h5", path, False, [])
    dataset = packed.read(tmp_path / "m.h5")
    assert (dataset.name, dataset.shape) == ("somemnist_64", (channels, 8, 8))
    assert dataset.classes == ("0", "1", "2")
    np.testing.assert_array_equal(dataset.train.images, FIRST[:12, :channels])
    np.testing.assert_array_equal(dataset.test.labels, LABELS[16:])
    assert f"passed over val of {path}" in capsys.readouterr().err


def test_a_share_of_each_class_is_held_out(path):
    saved(path, images=PIXELS, labels=LABELS)
    dataset = load(path, held_out=0.25, seed=3)
    assert np.bincount(dataset.test.labels).tolist() == [2, 2, 2]
    assert len(dataset.train) == 18
    assert dataset.source.endswith("test images: 0.25 of each class, held out with seed 3")
    assert dataset.checksum == load(path, held_out=0.25, seed=3).checksum
    assert dataset.checksum != load(path, held_out=0.25, seed=4).checksum
    whole = np.concatenate([dataset.train.images, dataset.test.images])
    assert sorted(image.tobytes() for image in whole) == sorted(x.tobytes() for x in FIRST)


def test_a_share_of_each_client_s_samples_is_held_out(path):
    clients = np.repeat(["anna", "bert"], 12)
    dataset = load(saved(path, images=PIXELS, labels=LABELS, clients=clients), held_out=0.25)
    assert dataset.client_names == ("anna", "bert")
    assert np.bincount(dataset.test.clients).tolist() == [3, 3]
    assert "0.25 of each client's samples" in dataset.source


def test_a_share_of_each_class_of_each_domain_is_held_out(path):
    domains = np.repeat([10, 20], 12)
    dataset = load(saved(path, images=PIXELS, labels=LABELS, domains=domains), held_out=0.25)
    assert dataset.domain_names == ("10", "20")
    assert np.bincount(dataset.test.domains * 3 + dataset.test.labels).tolist() == [1] * 6


def test_labels_from_1_and_of_strings_and_bytes_become_classes_from_0(path):
    assert load(parts(path, labels=LABELS + 1)).classes == ("1", "2", "3")
    names = np.array(["owl", "ant", "bee"])
    for labels in (names[LABELS], names[LABELS].astype("S")):
        dataset = load(parts(path, labels=labels))
        assert dataset.classes == ("ant", "bee", "owl")
        np.testing.assert_array_equal(dataset.train.labels, np.array([2, 0, 1])[LABELS[:18]])


def test_labels_may_be_whole_floats(path):
    np.testing.assert_array_equal(
        load(parts(path, labels=LABELS.astype(np.float32))).train.labels, LABELS[:18]
    )


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e30, np.nan])
def test_labels_that_no_integer_can_be_are_refused(path, value):
    labels = LABELS.astype(float)
    labels[1] = value
    parts(path, labels=labels)
    with pytest.raises(BadInput, match="labels: expected integers or strings"):
        load(path)


def test_clients_whose_names_are_not_utf8_stay_different(path):
    clients = np.array([b"Jos\xe9", b"Jos\xe8"])[np.arange(len(LABELS)) % 2]
    saved(path, images=PIXELS, labels=LABELS, clients=clients)
    assert load(path, held_out=0.5).client_names == ("Jos\\xe8", "Jos\\xe9")


def test_names_of_classes_may_be_given(path):
    arrays = {"images": PIXELS, "labels": LABELS, "classes": np.array(["ant", "bee", "owl", "yak"])}
    assert load(saved(path, **arrays)).classes == ("ant", "bee", "owl", "yak")
    arrays["classes"] = arrays["classes"].astype("S")
    assert load(saved(path, **arrays)).classes == ("ant", "bee", "owl", "yak")


def test_clients_are_ranked_by_their_names_and_a_test_without_them_is_nobody_s(path):
    clients = np.array(["f2", "f10"])[np.arange(18) // 9]
    arrays = {"train_images": PIXELS[:18], "train_labels": LABELS[:18], "train_clients": clients}
    dataset = load(saved(path, **arrays, test_images=PIXELS[18:], test_labels=LABELS[18:]))
    assert dataset.client_names == ("f10", "f2")
    assert dataset.train.clients.tolist() == [1] * 9 + [0] * 9
    assert dataset.test.clients is None


def test_packed_clients_are_read_again_and_count_in_the_checksum(path, tmp_path):
    clients = np.arange(24) % 4
    dataset = load(parts(path, clients=clients))
    packed.write(dataset, tmp_path / "x.h5")
    again = packed.read(tmp_path / "x.h5")
    assert again.client_names == ("0", "1", "2", "3")
    for part, rows in ((again.train, slice(18)), (again.test, slice(18, 24))):
        np.testing.assert_array_equal(part.clients, clients[rows])
    np.testing.assert_array_equal(packed.describe(tmp_path / "x.h5").clients, clients[:18])
    assert dataset.checksum != load(parts(path)).checksum
    assert dataset.checksum != load(parts(path, clients=clients[::-1])).checksum


def test_a_run_trains_the_natural_clients_of_packed_arrays(path, elsewhere, capsys):
    clients = np.array(["c", "a", "b"])[np.arange(24) % 3]
    pack_source("arrays", elsewhere / "x.h5", parts(path, clients=clients), False, [])
    assert "3 of 6 to 6" in capsys.readouterr().out
    run = mpifl.run(
        {"rounds": 1, "clients": 3, "partition": "natural", "data": {"path": "x.h5"}}, quiet=True
    )
    assert run is not None
    owners = np.array([2, 0, 1])[np.arange(18) % 3]
    for client in range(3):
        np.testing.assert_array_equal(run.part(client), np.flatnonzero(owners == client))


def cut_short(path):
    parts(path)
    os.truncate(path, path.stat().st_size // 2)


def pickled(path):
    # Images of different sizes, which numpy pickles.
    images = np.empty(2, dtype=object)
    images[:] = [np.zeros((2, 2)), np.zeros((3, 3))]
    np.savez(path, images=images, labels=np.arange(2), allow_pickle=True)


def single(path):
    with open(path, "wb") as file:
        np.save(file, PIXELS)


def flat(path):
    parts(path, PIXELS.reshape(24, -1))


def not_finite(path):
    images = PIXELS / 255
    images[5, 1, 1, 1] = np.nan
    parts(path, images)


def several_labels(path):
    # As in MedMNIST's ChestMNIST.
    parts(path, labels=np.eye(24, dtype=np.int64)[:, :14])


def volumes(path):
    # As in MedMNIST's sets of three dimensions.
    parts(path, np.repeat(PIXELS[..., :1], 8, axis=3))


def twice(path):
    saved(path, images=PIXELS, x=PIXELS, labels=LABELS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "expected an .npz file; got nothing at"),
        (os.mkdir, "expected an .npz file; got something else at"),
        (os.mkfifo, "expected an .npz file; got something else at"),
        (lambda path: path.write_bytes(b""), "mine.npz: expected an .npz file; got: No data left"),
        (lambda path: path.write_bytes(b"rubbish"), "mine.npz: expected an .npz file; got: "),
        (cut_short, "mine.npz: expected an .npz file; got: File is not a zip file"),
        (single, "of several arrays, as numpy.savez makes it; got a single array"),
        (pickled, "expected an array of numbers or strings as images; got: Object arrays cannot"),
        (flat, r"train_images: expected \[n, h, w\], .*; got uint8 \[18, 192\]"),
        (not_finite, "train_images: expected values of 0 to 1; got nan in image 5; which values"),
        (lambda path: parts(path, PIXELS - 1.0), "values of 0 to 1; got .* in image 0; which"),
        (lambda path: parts(path, PIXELS * 2j), "train_images: expected numbers; got complex128"),
        (lambda path: parts(path, labels=LABELS + 0.5), "train_labels: expected integers or str"),
        (
            several_labels,
            r"labels: expected one value for each image, \[18\]; got several, int64 \[",
        ),
        (volumes, r"1 to 4 channels on .* axis; got uint8 \[18, 8, 8, 8\]; say which by --option"),
        (
            lambda path: saved(path, images=PIXELS, labels=LABELS[:9]),
            r"labels: .*; got int64 \[9\]",
        ),
        (lambda path: parts(path, labels=np.arange(24)), "classes of the training labels in the t"),
        (lambda path: parts(path, PIXELS[:, :0, :, 0]), "images of one pixel or more; got uint8"),
        (lambda path: saved(path, images=PIXELS[:0], labels=LABELS[:0]), "samples in both splits"),
        (twice, "expected one array of the images of all samples; got x and another"),
        (lambda path: saved(path, labels=LABELS), "mine.npz: images: expected such an array; got"),
        (lambda path: saved(path, a=PIXELS), "mine.npz: images: expected such an array; got none"),
        (lambda path: saved(path, x_train=PIXELS), "expected arrays of a part 'test', such as"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(path, make, message):
    make(path)
    with pytest.raises(BadInput, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_domains_of_one_part_only_are_refused(path):
    arrays = {"train_images": PIXELS, "train_labels": LABELS, "train_domains": LABELS}
    saved(path, **arrays, test_images=PIXELS, test_labels=LABELS)
    with pytest.raises(BadInput, match="expected domains of both parts; got none of the test im"):
        load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": 1.0}, "expected 0 < held_out < 1; got 1.0"),
        ({"layout": "nchw8"}, "layout: expected nhwc or nchw; got 'nchw8'"),
        ({"values": (1.0, 0.0)}, r"values: expected \[BLACK, WHITE\]; got \[1.0, 0.0\]"),
        ({"values": (0.0, float("inf"))}, r"values: expected \[BLACK, WHITE\]; got \[0.0, inf\]"),
        ({"test": "val"}, "expected arrays of a part 'val', such as val_images; got test, train"),
    ],
)
def test_impossible_options_are_refused(path, options, message):
    with pytest.raises(BadInput, match=message):
        load(parts(path), **options)


def test_values_are_given_on_the_command_line(path, tmp_path, capsys):
    parts(path, (PIXELS / 127.5 - 1).astype(np.float32))
    pack_source("arrays", tmp_path / "x.h5", path, False, ["values=[-1, 1]", "name=ours"])
    assert capsys.readouterr().out.startswith("ours: arrays of mine.npz")
    np.testing.assert_array_equal(packed.read(tmp_path / "x.h5").train.images, FIRST[:18])
