"""Packed files: what is written is read back to the bit, and nothing else is taken for one."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import cut, overwrite
from hdf5_editing import edited, with_attributes

from mpifl.data import packed
from mpifl.data.synthetic import load
from mpifl.options import BadInput


def made(domains=0):
    return load(shape=(3, 6, 5), classes=3, train=60, test=20, domains=domains)


@pytest.fixture
def path(tmp_path):
    packed.write(made(domains=2), tmp_path / "set.h5")
    return tmp_path / "set.h5"


@pytest.mark.parametrize("domains", [0, 2])
def test_round_trip_is_bit_identical(tmp_path, domains):
    written = made(domains)
    packed.write(written, tmp_path / "new folder" / "set.h5")
    read = packed.read(tmp_path / "new folder" / "set.h5")
    for name in ("name", "classes", "domain_names", "mean", "std", "checksum", "source", "shape"):
        assert getattr(read, name) == getattr(written, name), name
    for split in ("train", "test"):
        for part in ("images", "labels", "domains"):
            ours, theirs = (getattr(getattr(data, split), part) for data in (read, written))
            assert (ours is None) == (theirs is None)
            if ours is not None:
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs)


def test_file_describes_itself_and_can_be_mapped(path):
    with h5py.File(path) as file:
        assert file.attrs["format"] == "mpifl-data"
        assert {
            "format_version",
            "software",
            "softwareVersion",
            "created",
            "name",
            "source",
        } <= set(file.attrs)
        images = file["train/images"]
        assert images.chunks is None
        assert images.compression is None
        assert images.id.get_offset() is not None
        file.visititems(lambda name, item: isinstance(item, h5py.Group) or item.attrs["long_name"])


def test_writing_leaves_nothing_else_and_replaces_what_was_there(path):
    packed.write(made(), path)
    assert packed.read(path).domain_names == ()
    assert os.listdir(path.parent) == ["set.h5"]


def test_written_file_has_the_permissions_of_any_new_file_but_to_write(path):
    (path.parent / "other").write_text("")
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode & ~0o222


def test_where_it_cannot_be_written_is_said_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        BadInput, match=r"expected to write .*file/set.h5; got .*File exists: .*/file'"
    ):
        packed.write(made(), tmp_path / "file" / "set.h5")
    (tmp_path / "taken").mkdir()
    with pytest.raises(BadInput, match="expected to write"):
        packed.write(made(), tmp_path / "taken")
    assert sorted(os.listdir(tmp_path)) == ["file", "taken"]


def test_missing_file_says_where_it_looked_and_how_to_make_it(tmp_path):
    with pytest.raises(BadInput) as caught:
        packed.read(tmp_path / "none.h5")
    assert str(tmp_path / "none.h5") in str(caught.value)
    assert f"`mpifl data NAME --out {tmp_path / 'none.h5'}`" in str(caught.value)


def text(path):
    path.unlink()
    path.write_text("not HDF5\n" * 100)


def empty(path):
    overwrite(path, b"")


def folder(path):
    path.unlink()
    path.mkdir()


def plain_hdf5(path):
    path.unlink()
    with h5py.File(path, "w") as file:
        file["x"] = 1


def edited_elsewhere(path):
    path.chmod(0o644)
    with h5py.File(path, "a"):
        pass


def no_format(path):
    path.unlink()
    with_attributes(path)


def other_format(path):
    with edited(path) as file:
        file.attrs["format"] = "mpifl-run"


def future(path):
    with edited(path) as file:
        file.attrs["format_version"] = 99


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (text, "something else than an HDF5 file"),
        (empty, "an empty file"),
        (folder, "cannot be read: .*Is a directory"),
        (plain_hdf5, "an HDF5 file of another program"),
        (edited_elsewhere, "a file edited or opened for writing by another program .*; pack it"),
        (no_format, "an HDF5 file of another kind"),
        (other_format, "of format 'mpifl-run'"),
        (future, "format_version is 99; this mpifl reads 1"),
    ],
)
@pytest.mark.parametrize("use", [packed.read, packed.describe])
def test_other_files_are_refused_with_the_reason(path, spoil, reason, use):
    spoil(path)
    with pytest.raises(
        BadInput, match=rf"data.path: expected a data file packed by `mpifl data`; got .*{reason}"
    ):
        use(path)


@pytest.mark.parametrize(
    "part", ["train", "test/labels", "train/images", "classes", "domain_names", "mean", "std"]
)
def test_missing_parts_are_refused(path, part):
    with edited(path) as file:
        del file[part]
    with pytest.raises(BadInput, match="expected a data file"):
        packed.read(path)


@pytest.mark.parametrize(("part", "value"), [("mean", np.nan), ("std", np.inf), ("std", -0.1)])
def test_impossible_means_and_deviations_are_refused(path, part, value):
    with edited(path) as file:
        file[part][0] = value
    with pytest.raises(BadInput, match=rf"expected a data file.*its means are .*{value}"):
        packed.read(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(path, share):
    cut(path, int(path.stat().st_size * share))
    for use in (packed.read, packed.describe):
        with pytest.raises(BadInput, match="cut short"):
            use(path)


def test_a_changed_pixel_is_found(path):
    with h5py.File(path) as file:
        offset = file["test/images"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset + 7] ^= 1
    overwrite(path, content)
    with pytest.raises(BadInput, match="damaged or changed since it was written, within bytes"):
        packed.read(path)


def test_labels_without_a_class_are_refused(path):
    with edited(path) as file:
        file["train/labels"][3] = 17
    for use in (packed.read, packed.describe):
        with pytest.raises(BadInput, match=r"labels in 0\.\.2; got 0\.\.17"):
            use(path)


def test_describe_says_what_read_would(path):
    read, described = packed.read(path), packed.describe(path)
    for name in ("name", "shape", "classes", "domain_names", "checksum", "source"):
        assert getattr(described, name) == getattr(read, name), name
    assert (described.train, described.test) == (len(read.train), len(read.test))
    np.testing.assert_array_equal(described.labels, read.train.labels)
    np.testing.assert_array_equal(described.domains, read.train.domains)


def test_describe_reads_no_images(path):
    with edited(path) as file:
        for split in ("train", "test"):
            n = len(file[split]["labels"])
            del file[split]["images"]
            # Tens of terabytes, never allocated: reading them could not go unnoticed.
            file[split].create_dataset("images", shape=(n, 3, 500_000, 500_000), dtype=np.uint8)
    assert packed.describe(path).shape == (3, 500_000, 500_000)


def test_paths_may_be_text(path):
    assert packed.read(str(path)).checksum == packed.read(Path(path)).checksum
