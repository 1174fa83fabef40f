"""Image folders: each layout is recognised, pixels are what Pillow gives, and what is missing is
named.
"""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from mpifl.data import packed
from mpifl.data.images import load
from mpifl.data.prepare import pack_source
from mpifl.data.reading import UnreadableImages
from mpifl.options import BadInput

COLOURS = {"cat": (250, 10, 20), "dog": (10, 240, 30), "eel": (20, 30, 230)}


def paint(path, colour, size=(16, 16), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


def class_folders(root, test="val", n=3):
    for split, count in (("train", n), (test, 1)):
        for name, colour in COLOURS.items():
            for i in range(count):
                paint(root / split / name / f"{i}.png", colour)
    return root


def tiny(root):
    lines = []
    for i, (name, colour) in enumerate(COLOURS.items()):
        for j in range(3):
            paint(root / "train" / name / "images" / f"{name}_{j}.JPEG", colour)
        (root / "train" / name / f"{name}_boxes.txt").write_text("")
        paint(root / "val" / "images" / f"val_{2 - i}.JPEG", colour)
        paint(root / "test" / "images" / f"test_{i}.JPEG", (0, 0, 0))
        lines.append(f"val_{2 - i}.JPEG\t{name}\t0\t0\t62\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("\n".join(COLOURS))
    return root


def pacs(root, n=10):
    for domain in ("photo", "art", "cartoon", "sketch"):
        for name, colour in COLOURS.items():
            for i in range(n):
                paint(root / domain / name / f"{i}.png", colour)
    return root


def assert_colours_tell_classes(dataset):
    for split in (dataset.train, dataset.test):
        brightest = split.images.mean(axis=(2, 3)).argmax(axis=1)
        np.testing.assert_array_equal(brightest, split.labels)


@pytest.mark.parametrize("test", ["val", "test"])
def test_class_folders(tmp_path, test):
    dataset = load(class_folders(tmp_path, test), size=8)
    assert dataset.classes == ("cat", "dog", "eel")
    assert (dataset.shape, len(dataset.train), len(dataset.test)) == ((3, 8, 8), 9, 3)
    assert_colours_tell_classes(dataset)
    assert (dataset.name, dataset.train.domains, dataset.domain_names) == (tmp_path.name, None, ())


def test_class_folders_of_the_test_that_are_all_empty_leave_it_to_val(tmp_path):
    for name in COLOURS:
        (class_folders(tmp_path) / "test" / name).mkdir(parents=True)
    dataset = load(tmp_path, size=4)
    assert (len(dataset.test), dataset.source[-10:]) == (3, "folder val")


def test_tiny_imagenet_s_own_layout(tmp_path):
    dataset = load(tiny(tmp_path), size=16, name="tiny")
    assert (dataset.name, len(dataset.train), len(dataset.test)) == ("tiny", 9, 3)
    assert_colours_tell_classes(dataset)


def by_class(val):
    """Move val/images/* to val/CLASS/*, as the usual scripts do."""
    move_annotated(val, lambda label, file: val / label / file)
    shutil.rmtree(val / "images")


def by_class_with_images(val):
    """Move val/images/* to val/CLASS/images/*."""
    move_annotated(val, lambda label, file: val / label / "images" / file)


def by_class_in_images(val):
    """Move val/images/* to val/images/CLASS/*."""
    move_annotated(val, lambda label, file: val / "images" / label / file)


def move_annotated(val, place):
    for line in (val / "val_annotations.txt").read_text().splitlines():
        file, label = line.split("\t")[:2]
        place(label, file).parent.mkdir(parents=True, exist_ok=True)
        (val / "images" / file).rename(place(label, file))


@pytest.mark.parametrize("annotations", ["kept", "removed"])
@pytest.mark.parametrize("sort", [by_class, by_class_with_images, by_class_in_images])
def test_tiny_imagenet_as_sorted_by_the_usual_scripts(tmp_path, sort, annotations):
    sort(tiny(tmp_path) / "val")
    if annotations == "removed":
        (tmp_path / "val" / "val_annotations.txt").unlink()
    dataset = load(tmp_path, size=16)
    assert (dataset.classes, len(dataset.train), len(dataset.test)) == (("cat", "dog", "eel"), 9, 3)
    assert_colours_tell_classes(dataset)
    where = "val/images" if sort is by_class_in_images else "val"
    assert dataset.source.endswith(f"; test images: the folder {where}")


def test_tiny_imagenet_is_the_same_data_however_it_is_sorted(tmp_path):
    whole = load(tiny(tmp_path), size=16)
    by_class(tmp_path / "val")
    for part in ("train", "test"):
        images = [getattr(data, part).images for data in (whole, load(tmp_path, size=16))]
        np.testing.assert_array_equal(*(np.sort(each.sum(axis=(1, 2, 3))) for each in images))


def test_domains_hold_out_the_same_share_of_each_domain_and_class(tmp_path):
    dataset = load(pacs(tmp_path), size=4)
    assert dataset.domain_names == ("art", "cartoon", "photo", "sketch")
    for split, n in ((dataset.train, 8), (dataset.test, 2)):
        assert (np.bincount(split.domains * 3 + split.labels) == n).all()
    assert_colours_tell_classes(dataset)
    assert dataset.source.endswith(
        "; test images: 0.2 of each class of each domain, held out with seed 0"
    )


def test_held_out_images_depend_on_the_seed_only(tmp_path):
    for i, path in enumerate(sorted(pacs(tmp_path).rglob("*.png"))):
        paint(path, (i, i, i))
    first, again, other = (load(tmp_path, size=4, seed=seed).checksum for seed in (1, 1, 2))
    assert first == again != other


def test_an_image_of_the_right_size_keeps_its_pixels(tmp_path):
    root = class_folders(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "train" / "cat" / "0.png")
    np.testing.assert_array_equal(load(root, size=8).train.images[0], pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("size", [(24, 8), (8, 24), (48, 16), (3, 9)])
def test_other_shapes_are_resized_and_cut_at_the_centre(tmp_path, size):
    root = class_folders(tmp_path)
    image = Image.new("RGB", size, (255, 0, 0))
    width, height = size
    side = min(size)
    image.paste(
        (0, 0, 255),
        ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2),
    )
    image.save(root / "train" / "cat" / "0.png")
    blue = load(root, size=8).train.images[0, 2]
    assert blue.shape == (8, 8)
    assert blue[2:-2, 2:-2].min() > 200


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    root = class_folders(tmp_path)
    paint(
        root / "train" / "cat" / f"x.{'tif' if mode == 'CMYK' else 'png'}",
        (255, 255, 255),
        mode=mode,
    )
    assert (load(root, size=4).train.images[3] == 255).all()


def test_grey_files_become_rgb_unless_grey_is_asked_for(tmp_path):
    root = class_folders(tmp_path)
    for path in root.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    grey = load(root, size=8, channels=1)
    assert (grey.shape, load(root, size=8).shape) == ((1, 8, 8), (3, 8, 8))
    np.testing.assert_array_equal(load(root, size=8).train.images[:, 1:2], grey.train.images)
    assert load(root, size=8, channels=0).checksum == grey.checksum
    assert grey.source.startswith("image files as grey, shorter side")


def test_the_summary_says_what_has_become_of_files_of_each_kind(tmp_path, capsys):
    root = class_folders(tmp_path / "in", n=1)
    for name, mode in (("a.png", "L"), ("b.png", "RGBA"), ("c.tif", "CMYK"), ("d.png", "P")):
        paint(root / "train" / "cat" / name, (255, 255, 255), mode=mode)
    wide = np.full((16, 16), 65535, dtype=np.uint16)
    Image.fromarray(wide).save(root / "train" / "cat" / "e.png")
    given = ["size=4", "channels=0"]
    pack_source("images", tmp_path / "out.h5", root, False, given)
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "image files as RGB, of 6 RGB, 1 grey, 1 RGB with alpha, 1 CMYK, 1 palette, "
        "1 grey of more than 8 bits, shorter side" in told
    )
    images = packed.read(tmp_path / "out.h5").train.images
    assert (images[1:6] == 255).all()


def test_colours_become_their_luma_where_grey_is_asked_for(tmp_path):
    dataset = load(class_folders(tmp_path), size=4, channels=1)
    expected = [np.rint(np.dot(colour, (0.299, 0.587, 0.114))) for colour in COLOURS.values()]
    assert dataset.test.images[:, 0, 0, 0].tolist() == expected
    assert dataset.source.startswith("image files as grey, of 12 RGB, shorter side")


def test_other_numbers_of_channels_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"data.images: channels: expected 3 \(RGB\), .*; got 4$"):
        load(class_folders(tmp_path), channels=4)


def test_a_class_folder_whose_name_is_not_utf8_is_packed_with_its_bytes_escaped(tmp_path):
    for split in ("train", "val"):
        for name in (b"a", b"caf\xe9"):
            paint(tmp_path / "images" / split / os.fsdecode(name) / "0.png", (1, 2, 3))
    pack_source("images", tmp_path / "mine.h5", tmp_path / "images", False, [])
    assert packed.read(tmp_path / "mine.h5").classes == ("a", "caf\\udce9")


def test_other_files_and_hidden_ones_are_passed_over_and_told(tmp_path, capsys):
    root = class_folders(tmp_path)
    (root / "train" / "cat" / "notes.txt").write_text("x")
    (root / "train" / "cat" / "._0.png").write_bytes(b"of a Mac")
    paint(root / "train" / ".cache" / "x.png", (0, 0, 0))
    paint(root / "train" / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png", (0, 0, 0))
    paint(root / "train" / "stray.png", (0, 0, 0))
    dataset = load(root, size=4)
    assert (len(dataset.train), dataset.classes) == (9, ("cat", "dog", "eel"))
    told = capsys.readouterr().err
    assert "passed over 1 file of other kinds: 1 .txt" in told
    assert f"passed over 1 image in no class folder, such as {root}/train/stray.png" in told
    assert f"looking for images in {root}" in told
    assert "reading 9 training images and 3 test images" in told


def test_a_folder_without_class_folders_is_no_domain_and_told(tmp_path, capsys):
    paint(pacs(tmp_path) / "docs" / "figure.png", (0, 0, 0))
    assert load(tmp_path, size=4).domain_names == ("art", "cartoon", "photo", "sketch")
    told = capsys.readouterr().err
    assert "passed over folders without class folders: docs" in told
    assert "passed over 1 image in no class folder" in told


def test_a_class_without_test_images_is_kept(tmp_path):
    shutil.rmtree(class_folders(tmp_path) / "val" / "dog")
    dataset = load(tmp_path, size=4)
    assert dataset.classes == ("cat", "dog", "eel")
    assert dataset.test.labels.tolist() == [0, 2]


def test_a_class_of_only_some_domains_is_kept(tmp_path):
    shutil.rmtree(pacs(tmp_path) / "photo" / "cat")
    assert load(tmp_path, size=4).classes == ("cat", "dog", "eel")


def unreadable(root):
    class_folders(root)
    (root / "train" / "dog" / "1.png").write_bytes(b"rubbish")
    Image.new("F", (4, 4)).save(root / "train" / "eel" / "2.tif")
    (root / "val" / "cat" / "0.png").write_bytes(b"")
    return [
        root / "train" / "dog" / "1.png",
        root / "train" / "eel" / "2.tif",
        root / "val" / "cat" / "0.png",
    ]


def test_all_files_that_cannot_be_read_are_named_at_once(tmp_path):
    paths = unreadable(tmp_path)
    with pytest.raises(UnreadableImages, match=r"dog/1.png; got .*; and 2 other files$") as caught:
        load(tmp_path, size=4)
    assert [error.path for error in caught.value.errors] == paths


def test_files_that_cannot_be_read_are_left_out_if_asked_for_and_told(tmp_path, capsys):
    paths = unreadable(tmp_path)
    dataset = load(tmp_path, size=4, skip_unreadable=True)
    assert (len(dataset.train), len(dataset.test)) == (8, 2)
    assert_colours_tell_classes(dataset)
    told = capsys.readouterr().err.splitlines()
    assert "left out 3 files that cannot be read" in told
    assert all(f"  {path}" in told for path in paths)


def test_domains_stay_with_their_images_where_some_cannot_be_read(tmp_path):
    (pacs(tmp_path) / "art" / "cat" / "0.png").write_bytes(b"rubbish")
    dataset = load(tmp_path, size=4, skip_unreadable=True)
    counts = np.bincount(np.concatenate([dataset.train.domains, dataset.test.domains]))
    assert counts.tolist() == [29, 30, 30, 30]
    assert_colours_tell_classes(dataset)


def test_a_class_of_which_no_image_can_be_read_is_refused(tmp_path):
    for path in (class_folders(tmp_path) / "train" / "dog").iterdir():
        path.write_bytes(b"rubbish")
    with pytest.raises(BadInput, match="a training image that can be read in each.*none in dog"):
        load(tmp_path, size=4, skip_unreadable=True)


def test_mpifl_data_lists_all_files_that_cannot_be_read(tmp_path, capsys):
    paths = unreadable(tmp_path / "in")
    with pytest.raises(UnreadableImages):
        pack_source("images", tmp_path / "out.h5", tmp_path / "in", False, ["size=4"])
    told = capsys.readouterr().err.splitlines()
    for path in paths:
        assert f"  {path}" in told
    assert not (tmp_path / "out.h5").exists()


def test_a_name_can_be_given_on_the_command_line(tmp_path, capsys):
    root = class_folders(tmp_path / "in")
    pack_source("images", tmp_path / "out.h5", root, False, ["size=4", "name=mine"])
    assert capsys.readouterr().out.startswith("mine: image files")


def test_images_beyond_this_machine_s_memory_are_refused(tmp_path):
    with pytest.raises(BadInput, match="data.images: expected images for .* bytes of memory"):
        load(class_folders(tmp_path), size=10**8)


def broken(root):
    class_folders(root)
    (root / "train" / "dog" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")


def cut_short(root):
    class_folders(root)
    path = root / "train" / "dog" / "1.jpg"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:700])


def strange_class(root):
    paint(class_folders(root) / "val" / "fox" / "0.png", (1, 1, 1))


def no_test(root):
    paint(root / "train" / "cat" / "0.png", (1, 1, 1))


def unlabelled_test(root):
    shutil.rmtree(tiny(root) / "val")


def no_training_images(root):
    (root / "train").mkdir()


def empty_class(root):
    (class_folders(root) / "train" / "bat").mkdir()


def class_of_other_kinds(root):
    paint(class_folders(root) / "train" / "bat" / "0.gif", (1, 1, 1))


def empty_test_class(root):
    os.unlink(class_folders(root) / "val" / "dog" / "0.png")


def domains_of_other_kinds(root):
    paint(root / "photo" / "cat" / "0.gif", (1, 1, 1))


def empty_class_of_a_domain(root):
    (pacs(root) / "photo" / "bat").mkdir()


def two_empty_classes(root):
    empty_class(root)
    (root / "train" / "yak").mkdir()


def flat(root):
    paint(root / "0.png", (1, 1, 1))


def annotations_lost(root):
    (tiny(root) / "val" / "val_annotations.txt").write_text("val_0.JPEG cat\n")


def annotated_image_lost(root):
    (tiny(root) / "val" / "images" / "val_1.JPEG").unlink()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (broken, "expected an image in .*dog/1.png"),
        (cut_short, "expected an image in .*dog/1.jpg"),
        (strange_class, "'fox'"),
        (no_test, "expected test images in .*/test/CLASS or .*/val/CLASS"),
        (unlabelled_test, "expected test images in .*/test/CLASS or .*/val/CLASS"),
        (no_training_images, "expected images in .*/train/CLASS; got none"),
        (empty_class, r"images in every class folder of .*; got none in train/bat \(empty\);"),
        (class_of_other_kinds, r"got none in train/bat \(1 .gif\); mpifl reads .bmp, .jpeg,"),
        (empty_test_class, r"got none in val/dog \(empty\)"),
        (empty_class_of_a_domain, r"got none in photo/bat \(empty\)"),
        (two_empty_classes, r"none in 2 folders: train/bat \(empty\), train/yak \(empty\);"),
        (domains_of_other_kinds, "no images so arranged in .*, but 1 .gif; mpifl reads .bmp"),
        (flat, "no images so arranged in"),
        (annotations_lost, "FILE <tab> CLASS"),
        (annotated_image_lost, "expected an image in .*val_1.JPEG"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(BadInput, match=message):
        load(tmp_path, size=4)


@pytest.mark.parametrize("options", [{"size": 0}, {"held_out": 0.0}, {"held_out": 1.0}])
def test_impossible_options_are_refused(tmp_path, options):
    with pytest.raises(BadInput, match="expected size >= 1 and 0 < held_out < 1"):
        load(tmp_path, **options)
