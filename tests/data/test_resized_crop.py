"""Resized crops are Pillow's to the bit, drawn by torchvision's rule; others may be of any size."""

import numpy as np
import pytest
import torch
from PIL import Image

from mpifl import seeds
from mpifl.config import merge
from mpifl.data.augmentation import Augmentation
from mpifl.data.batches import Samples
from mpifl.data.resized_crop import boxes, largest, resized
from mpifl.options import BadInput
from mpifl.runner import schema
from mpifl.runner.crop_size import check_crop_size
from tests import tiny


def random(purpose="augment"):
    return seeds.generator(1, purpose, 0, 1)


def images(n, height, width, channels=3):
    return torch.from_numpy(
        random("images").integers(256, size=(n, channels, height, width))
    ).byte()


def of_pillow(image, box, size):
    """A crop of one image, resized by Pillow: its width, then its height, as older versions do."""
    row, column, height, width = box
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    cropped = picture.crop((column, row, column + width, row + height))
    narrow = cropped.resize((size[1], height), Image.Resampling.BILINEAR)
    done = narrow.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(done)).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(32, 32, (32, 32)), (40, 24, (24, 24)), (64, 64, (7, 9)), (8, 8, (50, 50))],
)
def test_a_resized_crop_is_pillows_bit_for_bit(height, width, size):
    some = images(40, height, width)
    crops = boxes(40, (height, width), 0.08, 4 / 3, random())
    got = resized(some, torch.from_numpy(crops), size)
    for image, box, result in zip(some, crops.tolist(), got, strict=True):
        assert torch.equal(result, of_pillow(image, box, size))


def test_four_pixels_become_two_with_antialiasing():
    line = torch.tensor([0, 0, 4, 4], dtype=torch.uint8).mul(60).view(1, 1, 1, 4)
    got = resized(line, torch.tensor([[0, 0, 1, 4]]), (1, 2))
    assert got.flatten().tolist() == [34, 206]  # 240 times 1/7 and 6/7; without it 0 and 240


def test_the_whole_image_at_its_own_size_is_unchanged():
    some = images(5, 12, 9)
    whole = torch.from_numpy(boxes(5, (12, 9), 1.0, 1.0, random()))
    assert torch.equal(resized(some[..., :9, :], whole.new_tensor([[0, 0, 9, 9]] * 5), (9, 9)),
                       some[..., :9, :])  # fmt: skip
    assert (whole[:, 2:] == 9).all()  # a square as large as fits
    assert (whole[:, 0] == 1).all()  # in the middle of 12 rows
    assert not whole[:, 1].any()


def test_crops_fit_and_have_shares_and_ratios_in_their_ranges():
    crops = boxes(4000, (224, 224), 0.08, 4 / 3, random())
    row, column, height, width = crops.T
    assert (crops >= 0).all()
    assert (row + height <= 224).all()
    assert (column + width <= 224).all()
    share = height * width / 224**2
    assert share.min() == pytest.approx(0.08, abs=0.005)
    assert share.mean() == pytest.approx(0.480, abs=0.01)  # below 0.54: large ones often do not fit
    ratio = np.log(width / height)
    assert np.abs(ratio).max() < np.log(4 / 3) + 0.02
    assert abs(ratio.mean()) < 0.01
    assert abs((row / np.maximum(224 - height, 1)).mean() - 0.5) < 0.02


@pytest.mark.parametrize(
    ("size", "expected"),
    [((10, 40), (0, 13, 10, 13)), ((40, 10), (13, 0, 13, 10)), ((12, 12), (0, 0, 12, 12))],
)
def test_where_nothing_fits_the_largest_crop_in_the_middle_is_taken(size, expected):
    assert largest(size, 4 / 3) == expected
    if size != (12, 12):
        assert (boxes(3, size, 1.0, 4 / 3, random()) == expected).all()


def samples(some):
    return Samples(some.numpy(), np.arange(len(some)), (0.4,) * 3, (0.2,) * 3)


def test_a_flipped_resized_crop_is_normalised_whatever_the_padding():
    some = images(20, 8, 8)
    augmentation = Augmentation(area=0.3, flip=0.5, padding="mean")
    draws = torch.from_numpy(augmentation.draw(20, random(), (8, 8)))
    got = samples(some).pick(torch.arange(20), augmentation, draws)
    for image, (row, column, flipped, *sides), result in zip(
        some, draws.tolist(), got, strict=True
    ):
        expected = of_pillow(image, (row, column, *sides), (8, 8)).float()
        expected = (expected.flip(2) if flipped else expected) / 255
        assert torch.allclose(result, (expected - 0.4) / 0.2, atol=1e-6, rtol=0)
    assert 0 < draws[:, 2].sum() < 20


def test_crops_of_60_of_64_pixels_are_parts_of_the_padded_images():
    some = images(300, 64, 64)
    augmentation = Augmentation(crop=4, size=60, crop_probability=0.5)
    draws = augmentation.draw(300, random(), (64, 64))
    got = augmentation.apply(some, torch.from_numpy(draws))
    padded = torch.nn.functional.pad(some, [4] * 4)
    for image, (row, column, _), result in zip(padded, draws, got, strict=True):
        assert torch.equal(result, image[:, row : row + 60, column : column + 60])
    still = (draws[:, :2] == 6).all(1)
    assert 0.4 < still.mean() < 0.6
    assert (draws[~still, :2].min(), draws[~still, :2].max()) == (0, 12)


def test_without_a_size_an_areas_crops_keep_the_images_size():
    augmentation = Augmentation(area=0.5)
    draws = torch.from_numpy(augmentation.draw(3, random(), (10, 6)))
    assert augmentation.apply(images(3, 10, 6), draws).shape == (3, 3, 10, 6)


def run_with(model, **augment):
    return {"model": {"name": model, "norm": "batch"}, "data": {"augment": augment}}


def test_a_network_for_any_size_trains_on_smaller_crops():
    small = tiny.digests(run_with("resnet20", size=6, flip=0.5))
    assert small == tiny.digests(run_with("resnet20", size=6, flip=0.5))
    assert small != tiny.digests(run_with("resnet20", area=0.3, flip=0.5))


@pytest.mark.parametrize(
    ("model", "augment", "message"),
    [
        ("cnn", {"size": 6}, "size: expected a network that takes images of other sizes too"),
        ("resnet20", {"size": 11, "crop": 1}, "size: expected at most 10, the side of a padded"),
        ("resnet20", {"area": 0.5, "crop": 1}, "crop: expected 0 with data.augment.area"),
    ],
)
def test_crops_that_cannot_be_are_refused(model, augment, message):
    with pytest.raises(BadInput, match=rf"data\.augment\.{message}"):
        tiny.experiment(run_with(model, **augment))


def test_crops_are_refused_for_a_network_that_asserts_the_size_of_its_images(monkeypatch):
    config = schema.resolve(merge(tiny.RUN, run_with("resnet20", size=6)))
    net = tiny.net()

    def refuse(x):
        raise AssertionError("Input height (6) doesn't match model (8).")

    monkeypatch.setattr(net.module, "forward", refuse)
    with pytest.raises(BadInput, match=r"data\.augment\.size: expected a network that takes"):
        check_crop_size(config, tiny.SHAPE, net)
