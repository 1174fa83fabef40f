"""Image folders: each layout is recognised, pixels are what Pillow gives, and what is missing is
named.
"""

import numpy as np
import pytest
from PIL import Image

from mpifl.data.images import load
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


def test_tiny_imagenet_s_own_layout(tmp_path):
    dataset = load(tiny(tmp_path), size=16, name="tiny")
    assert (dataset.name, len(dataset.train), len(dataset.test)) == ("tiny", 9, 3)
    assert_colours_tell_classes(dataset)


def test_domains_hold_out_the_same_share_of_each_domain_and_class(tmp_path):
    dataset = load(pacs(tmp_path), size=4)
    assert dataset.domain_names == ("art", "cartoon", "photo", "sketch")
    for split, n in ((dataset.train, 8), (dataset.test, 2)):
        assert (np.bincount(split.domains * 3 + split.labels) == n).all()
    assert_colours_tell_classes(dataset)


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


def test_other_files_and_hidden_folders_are_passed_over(tmp_path):
    root = class_folders(tmp_path)
    (root / "train" / "cat" / "notes.txt").write_text("x")
    paint(root / "train" / ".cache" / "x.png", (0, 0, 0))
    assert (len(load(root, size=4).train), load(root, size=4).classes) == (9, ("cat", "dog", "eel"))


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
