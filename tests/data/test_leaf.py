"""FEMNIST in LEAF's format: labels, writers and pixels are those of the files; what is wrong with a
file is said with its name.
"""

import json

import numpy as np
import pytest

from mpifl.data.leaf import CLASSES, load
from mpifl.options import BadInput


def image(value):
    return [value] * 784


def write(path, users):
    """A file of LEAF's. Its num_samples is wrong, as in some that LEAF makes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        name: {"x": [image(value) for value in values], "y": labels}
        for name, (values, labels) in users.items()
    }
    path.write_text(json.dumps({"users": list(users), "num_samples": [9], "user_data": data}))


TWO_WRITERS = {"f0001_10": ([0, 0.5], [0, 10]), "f0000_14": ([1], [61])}


def test_writers_are_clients_in_the_order_of_their_names(tmp_path):
    write(tmp_path / "train" / "all_data_0.json", TWO_WRITERS)
    write(tmp_path / "test" / "all_data_0.json", {"f0001_10": ([0.25], [35])})
    dataset = load(tmp_path)
    assert dataset.train.labels.tolist() == [61, 0, 10]
    assert dataset.train.clients.tolist() == [0, 1, 1]
    assert dataset.train.images[:, 0, 0, 0].tolist() == [255, 0, 128]
    assert dataset.client_names == ("f0000_14", "f0001_10")
    assert (dataset.test.labels.tolist(), dataset.test.clients.tolist()) == ([35], [1])
    assert (dataset.shape, len(dataset.classes)) == ((1, 28, 28), 62)
    assert [dataset.classes[label] for label in (0, 10, 35, 36, 61)] == ["0", "A", "Z", "a", "z"]


def test_a_writer_may_be_in_several_files_and_in_the_test_only(tmp_path):
    write(tmp_path / "train" / "a.json", {"w": ([0], [1])})
    write(tmp_path / "train" / "b.json", {"w": ([1], [2])})
    write(tmp_path / "test" / "a.json", {"v": ([1], [3])})
    dataset = load(tmp_path)
    assert dataset.train.labels.tolist() == [1, 2]
    assert dataset.train.clients.tolist() == [1, 1]
    assert dataset.test.clients.tolist() == [0]


def test_an_image_that_a_writer_has_twice_is_used_once_and_told(tmp_path, capsys):
    # As group_by_writer.py leaves them: the first image of each writer but the first is repeated.
    users = {"a": ([0.1, 0.2], [1, 2]), "b": ([0.3, 0.3, 0.4], [3, 3, 4]), "c": ([0.1], [1])}
    write(tmp_path / "all_data" / "x.json", users)
    dataset = load(tmp_path, held_out=0.4)
    assert sorted([*dataset.train.labels, *dataset.test.labels]) == [1, 1, 2, 3, 4]
    assert "left out 1 image that a writer has twice" in capsys.readouterr().err


def test_an_image_in_both_parts_stays_in_the_test(tmp_path):
    write(tmp_path / "train" / "x.json", {"b": ([0.3, 0.4], [3, 4])})
    write(tmp_path / "test" / "x.json", {"b": ([0.3], [3])})
    dataset = load(tmp_path)
    assert (dataset.train.labels.tolist(), dataset.test.labels.tolist()) == ([4], [3])


@pytest.mark.parametrize("folder", [".", "all_data"])
def test_a_share_of_each_writer_is_held_out_where_leaf_has_not_split(tmp_path, folder):
    values = np.linspace(0, 1, 10).tolist()
    write(tmp_path / folder / "x.json", {name: (values, [5] * 10) for name in "ab"})
    dataset = load(tmp_path, held_out=0.3, seed=2)
    assert np.bincount(dataset.test.clients).tolist() == [3, 3]
    assert len(dataset.train) == 14
    assert dataset.source.endswith("0.3 of each writer's images, held out with seed 2")


def no_files(path):
    path.unlink()


def other_json(path):
    path.write_text("[1, 2]")


def cut_short(path):
    path.write_text(path.read_text()[:-9])


def text(path):
    write(path, {})
    data = {"user_data": {"w": {"x": ["To be or not to be"], "y": ["t"]}}}
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_files, r"expected LEAF's \*.json in .*; got none"),
        (other_json, "x.json: expected JSON with LEAF's user_data; got: TypeError"),
        (cut_short, "x.json: expected JSON with LEAF's user_data; got: JSONDecodeError"),
        (text, "user_data of 'w': expected x, images of 784 values, and y, a label for each"),
        (lambda path: write(path, {"w": ([0], [1, 2])}), "got 2 labels of 1 images"),
        (lambda path: write(path, {"w": ([255], [1])}), "'w': expected values of 0 to 1; got 255"),
        (lambda path: write(path, {"w": ([0], [62])}), "'w': expected labels 0 to 61; got 62"),
        (lambda path: write(path, {"w": ([0], [0.5])}), "'w': expected labels 0 to 61; got 0.5"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, make, message):
    write(tmp_path / "x.json", TWO_WRITERS)
    make(tmp_path / "x.json")
    with pytest.raises(BadInput, match=message):
        load(tmp_path)


def test_a_folder_that_is_not_there_and_a_wrong_share_are_refused(tmp_path):
    with pytest.raises(BadInput, match=f"got no folder at {tmp_path / 'none'}"):
        load(tmp_path / "none")
    with pytest.raises(BadInput, match="expected 0 < held_out < 1; got 1.5"):
        load(tmp_path, held_out=1.5)


def test_there_are_62_classes():
    assert len(set(CLASSES)) == 62
