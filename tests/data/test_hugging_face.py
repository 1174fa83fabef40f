"""Tables that Hugging Face's library reads, from parquet files, class folders and saved tables:
images, labels, domains and clients are what the files say; what is wrong is said in one line.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpifl.data import packed
from mpifl.data.hugging_face import load
from mpifl.data.prepare import pack_source, source_and_root
from mpifl.data.reading import UnreadableImages
from mpifl.options import BadInput

datasets = pytest.importorskip("datasets", reason="needs datasets: pip install 'mpifl[datasets]'")

GREY = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3
KINDS = {
    "image": datasets.Image(),
    "mask": datasets.Image(),
    "label": datasets.ClassLabel(names=["owl", "ant", "bee"]),
    "writer": datasets.Value("string"),
    "domain": datasets.Value("string"),
}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def encoded(pixels):
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def table(images=GREY, labels=LABELS, kinds=KINDS, **others):
    """A table of encoded images; without `kinds` as other programs write it: bytes and integers."""
    contents = [image if isinstance(image, bytes) else encoded(image) for image in images]
    columns = {"image": contents, "label": list(labels), **others}
    if kinds is None:
        return datasets.Dataset.from_dict(columns)
    columns["image"] = [{"bytes": content, "path": None} for content in contents]
    features = datasets.Features({name: kinds[name] for name in columns})
    return datasets.Dataset.from_dict(columns, features=features)


def parquet(folder, **parts):
    """The folder, with a file of each part as the Hub has it."""
    (folder / "data").mkdir(parents=True)
    for part, made in parts.items():
        made.to_parquet(folder / "data" / f"{part}-00000-of-00001.parquet")
    return folder


def test_parquet_files_of_two_parts_are_the_data(tmp_path):
    both = parquet(tmp_path / "birds", train=table(), test=table(GREY[::-1], LABELS[::-1]))
    dataset = load(both)
    assert (dataset.name, dataset.shape) == ("birds", (1, 8, 8))
    assert dataset.classes == ("owl", "ant", "bee")
    np.testing.assert_array_equal(dataset.train.images[:, 0], GREY)
    np.testing.assert_array_equal(dataset.train.labels, LABELS)
    np.testing.assert_array_equal(dataset.test.images[:, 0], GREY[::-1])
    np.testing.assert_array_equal(dataset.test.labels, LABELS[::-1])
    assert dataset.source.endswith(
        "birds, images of the column image, labels of label; images as grey; "
        "test images: the part test"
    )


def test_grey_and_coloured_images_together_are_rgb(tmp_path):
    dataset = load(parquet(tmp_path / "x", train=table([*GREY[:6], *COLOURS[6:]]), test=table()))
    assert dataset.shape == (3, 8, 8)
    np.testing.assert_array_equal(dataset.train.images[6:], COLOURS[6:].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(dataset.train.images[:6, 2], GREY[:6])
    assert "images as RGB, of 18 grey, 6 RGB" in dataset.source


def test_one_parquet_file_of_another_program_has_a_held_out_share(tmp_path):
    path = tmp_path / "mine.parquet"
    table(labels=LABELS + 1, kinds=None).to_parquet(path)
    dataset = load(path, held_out=0.25)
    assert (dataset.name, dataset.classes) == ("mine", ("1", "2", "3"))
    assert np.bincount(dataset.test.labels).tolist() == [1, 1, 1]
    assert dataset.source.endswith("test images: 0.25 of each class, held out with seed 0")
    both = np.concatenate([dataset.train.images, dataset.test.images])
    assert sorted(image.tobytes() for image in both) == sorted(x.tobytes() for x in GREY)


def test_clients_are_those_of_the_named_column_in_the_order_of_their_names(tmp_path):
    writers = np.array(["2", "10", "ada"])[np.arange(12) // 4]
    root = parquet(tmp_path / "w", train=table(writer=list(writers)), test=table())
    pack_source("hf", tmp_path / "w.h5", root, False, [], client="writer")
    dataset = packed.read(tmp_path / "w.h5")
    assert dataset.client_names == ("10", "2", "ada")
    assert dataset.train.clients.tolist() == [1] * 4 + [0] * 4 + [2] * 4
    assert dataset.test.clients is None
    assert load(root).train.clients is None


def test_a_share_of_each_named_client_is_held_out_where_there_is_one_part(tmp_path):
    writers = ["b", "a"] * 6
    root = parquet(tmp_path / "w", train=table(writer=writers))
    dataset = load(root, client="writer", held_out=1 / 3)
    assert np.bincount(dataset.test.clients).tolist() == [2, 2]


def test_a_column_called_domain_has_the_domains(tmp_path):
    domains = ["photo", "art"] * 6
    root = parquet(tmp_path / "p", train=table(domain=domains))
    dataset = load(root, held_out=0.5)
    assert dataset.domain_names == ("art", "photo")
    assert np.bincount(dataset.train.domains * 3 + dataset.train.labels).tolist() == [1] * 6
    assert "domains of domain" in dataset.source


def test_class_folders_are_read_with_their_names(tmp_path):
    for number, name in enumerate(("cat", "dog")):
        for part, count in (("train", 2), ("test", 1)):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(COLOURS[2 * number + i]).save(folder / f"{i}.png")
    dataset = load(tmp_path / "pets")
    assert (dataset.classes, dataset.shape) == (("cat", "dog"), (3, 8, 8))
    np.testing.assert_array_equal(dataset.train.images, COLOURS[:4].transpose(0, 3, 1, 2))
    assert dataset.test.labels.tolist() == [0, 1]


@pytest.mark.parametrize("parts", ["one table", "two tables"])
def test_saved_tables_are_read(tmp_path, parts):
    saved = table()
    if parts == "two tables":
        saved = datasets.DatasetDict(train=saved, test=table(GREY[:3], LABELS[:3]))
    saved.save_to_disk(tmp_path / "saved")
    dataset = load(tmp_path / "saved", held_out=0.25)
    assert (len(dataset.test), dataset.classes) == (3, ("owl", "ant", "bee"))


def test_a_validation_part_is_the_test_only_if_asked_for(tmp_path, capsys):
    root = parquet(tmp_path / "v", train=table(), validation=table(GREY[:3], LABELS[:3]))
    with pytest.raises(BadInput, match=r"a part test; got train, validation; allowed: --option t"):
        load(root)
    assert len(load(root, test="validation").test) == 3
    assert len(load(root, test="train", held_out=0.5).test) == 6
    assert f"passed over validation of {root}" in capsys.readouterr().err


def test_a_test_part_without_labels_is_refused_and_a_share_can_be_held_out(tmp_path):
    root = parquet(tmp_path / "v", train=table(), test=table(labels=[-1] * 12))
    with pytest.raises(BadInput, match=r"label without one in row 0 of test; allowed: .* test=tr"):
        load(root)
    assert len(load(root, test="train").test) == 2


def test_images_of_several_sizes_need_one_size(tmp_path):
    images = [*COLOURS[:11], COLOURS[0][:6]]
    root = parquet(tmp_path / "s", train=table(images), test=table())
    with pytest.raises(BadInput, match="one size; got 8 x 8 in row 0 of train and 8 x 6 in row"):
        load(root)
    dataset = load(root, size=4)
    assert dataset.shape == (3, 4, 4)
    assert "shorter side resized to 4 (bicubic) and centre cropped" in dataset.source


def test_rows_that_cannot_be_read_are_named_or_left_out_with_their_values(tmp_path, capsys):
    images = [*COLOURS[:4], b"rubbish", *COLOURS[5:]]
    writers = [str(number) for number in range(12)]
    test = table([b"", *GREY[1:]], writer=writers)
    root = parquet(tmp_path / "u", train=table(images, writer=writers), test=test)
    with pytest.raises(UnreadableImages, match=r"row 4 of train; got .* and 1 other file"):
        load(root)
    dataset = load(root, client="writer", skip_unreadable=True)
    kept = np.delete(np.arange(12), 4)
    np.testing.assert_array_equal(dataset.train.labels, LABELS[kept])
    assert [dataset.client_names[i] for i in dataset.train.clients] == [writers[i] for i in kept]
    np.testing.assert_array_equal(dataset.test.images[:, 0], GREY[1:])
    np.testing.assert_array_equal(dataset.test.labels, LABELS[1:])
    assert "  row 0 of test" in capsys.readouterr().err.splitlines()


def renamed(folder, **names):
    parquet(folder, train=table(kinds=None).rename_columns(names))


def two_images(folder):
    parquet(folder, train=table(mask=[{"bytes": encoded(GREY[0]), "path": None}] * 12))


def two_labels(folder):
    kind = datasets.ClassLabel(names=["a"])
    parquet(folder, train=table().add_column("coarse", [0] * 12, feature=kind))


def numbers(folder):
    columns = {"image": GREY.tolist(), "label": LABELS.tolist()}
    parquet(folder, train=datasets.Dataset.from_dict(columns))


def many_labels(folder):
    made = table().remove_columns("label").add_column("label", [[0, 1]] * 12)
    parquet(folder, train=made)


def no_label(folder):
    parquet(folder, train=table(labels=[None, *LABELS[1:]], kinds=None))


def damaged(folder):
    folder.mkdir()
    (folder / "train.parquet").write_bytes(b"PAR1 rubbish PAR1")


def other_classes(folder):
    other = {**KINDS, "label": datasets.ClassLabel(names=["ant", "bee", "owl"])}
    datasets.DatasetDict(train=table(), test=table(kinds=other)).save_to_disk(folder)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda folder: None, {}, "got nothing at .*; if .* is a name on the .* add --download"),
        (Path.touch, {}, r"expected a folder or a .parquet file; got "),
        (Path.mkdir, {}, "data.hf: expected data in .*; got: .*doesn't contain any data files"),
        (damaged, {}, "data.hf: expected data in .*; got: "),
        (two_images, {}, "one column of images; got image and mask; .* --option image=COLUMN"),
        (two_labels, {}, "one column of labels; got label and coarse; .* --option label=COLUMN"),
        (lambda f: renamed(f, label="kind"), {}, "labels; got none that is known among image, kin"),
        (numbers, {}, "one column of images; got none that is known among image, label"),
        (numbers, {"image": "image"}, "column of images; got image of List.*`mpifl data arrays`"),
        (many_labels, {}, "expected integers or strings in label; got List"),
        (no_label, {}, "a value in each row; got label without one in row 0 of train"),
        (other_classes, {}, "expected the same class names in train and test; got others"),
        (two_images, {"client": "writr"}, "client: expected a column; got 'writr'"),
        (two_labels, {"label": "label", "train": "all"}, "train: expected a part; got 'all'"),
        (two_labels, {"label": "label", "test": "val"}, "test: expected a part; got 'val'"),
        (two_labels, {"held_out": 1.0}, "expected 0 < held_out < 1; got 1.0"),
        (two_labels, {"channels": 2}, "data.hf: channels: expected 3 .*; got 2"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, make, options, message):
    make(tmp_path / "x")
    with pytest.raises(BadInput, match=message) as caught:
        load(tmp_path / "x", **options)
    assert "\n" not in str(caught.value)


def test_a_name_that_the_hub_cannot_be_asked_for_is_refused_in_one_line():
    with pytest.raises(BadInput, match="expected data in nobody/nothing; got: ") as caught:
        load(Path("nobody/nothing"), download=True)
    assert "\n" not in str(caught.value)


def test_a_place_is_given_once():
    with pytest.raises(BadInput, match="expected hf:NAME, hf:FOLDER or --root FOLDER; got hf:x"):
        source_and_root("hf:x", Path("y"))
    with pytest.raises(BadInput, match="got hf:$"):
        source_and_root("hf:", None)
    with pytest.raises(BadInput, match="data.hf: expected hf:NAME, .*; got no name"):
        load()
