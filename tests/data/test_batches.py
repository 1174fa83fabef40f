import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mpifl import seeds
from mpifl.data.augmentation import Augmentation
from mpifl.data.batches import DealtTogether, Order, Samples, deal, sequence


def samples(n=50, shape=(3, 8, 8)):
    random = np.random.default_rng(0)
    images = random.integers(256, size=(n, *shape)).astype(np.uint8)
    c = shape[0]
    return Samples(images, np.arange(n), (0.4,) * c, (0.2,) * c)


def stream():
    return seeds.generator(1, "shuffle", 0, 1)


@pytest.mark.parametrize(
    ("n", "drop_last", "lengths"),
    [
        (25, False, [10, 10, 5] * 2),
        (25, True, [10, 10] * 2),
        (7, True, [7] * 2),
        (20, True, [10, 10] * 2),
    ],
)
def test_epochs_meet_every_sample_once_and_drop_only_a_short_last_batch(n, drop_last, lengths):
    own = np.arange(100, 100 + n)
    order, got = sequence(own, 10, 2, None, drop_last, stream())
    assert got == lengths
    first = order[: sum(lengths) // 2]
    assert len(set(first)) == len(first) == sum(lengths) // 2
    assert set(first) <= set(own)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_steps_take_as_many_batches_as_asked_over_reshuffled_passes(steps):
    order, lengths = sequence(np.arange(25), 10, 1, steps, False, stream())
    assert len(lengths) == steps
    assert len(order) == sum(lengths)


def test_a_batch_is_the_normalised_images_of_its_samples():
    some = samples()
    order, lengths = sequence(np.arange(5, 30), 10, 1, None, False, stream())
    at = 0
    for x, y in deal(some, Order(order, lengths, None), Augmentation()):
        expected = (some.images[order[at : at + len(y)]].float() / 255 - 0.4) / 0.2
        assert torch.equal(y, torch.from_numpy(order[at : at + len(y)]))
        assert torch.allclose(x, expected, atol=1e-6)
        at += len(y)
    assert at == len(order)


@pytest.mark.parametrize(
    "augmentation", [None, Augmentation(crop=1), Augmentation(crop=1, padding="mean")]
)
def test_a_channel_of_deviation_0_is_centred_and_not_divided(augmentation):
    images = np.full((4, 2, 3, 3), 51, dtype=np.uint8)
    images[:, 0] = np.arange(4).reshape(4, 1, 1)
    some = Samples(images, np.arange(4), (0.0, 0.2), (0.5, 0.0))
    draws = torch.ones(4, 3, dtype=torch.int64)  # neither moved nor flipped: 1 is the centre
    draws[:, 2] = 0
    x = some.pick(torch.arange(4), augmentation, draws)
    assert torch.allclose(x[:, 0, 0, 0], torch.arange(4) / 255 / 0.5)
    assert x[:, 1].abs().max() < 1e-7


def test_chunks_do_not_change_batches(monkeypatch):
    some, augmentation = samples(), Augmentation(crop=2, flip=0.5)
    order, lengths = sequence(np.arange(50), 8, 3, None, False, stream())
    draws = augmentation.draw(len(order), seeds.generator(1, "augment", 0, 1), (8, 8))
    whole = list(deal(some, Order(order, lengths, draws), augmentation))
    monkeypatch.setattr("mpifl.data.batches.CHUNK", 11)
    parts = list(deal(some, Order(order, lengths, draws), augmentation))
    assert all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        for a, b in zip(whole, parts, strict=True)
    )


def test_crop_and_flip_equal_the_plain_per_sample_ones():
    some, augmentation = samples(20), Augmentation(crop=2, flip=0.5)
    draws = augmentation.draw(20, seeds.generator(1, "augment", 0, 1), (8, 8))
    got = augmentation.apply(some.images, torch.from_numpy(draws))
    for image, (row, column, flipped), result in zip(some.images, draws, got, strict=True):
        padded = torch.nn.functional.pad(image, [2] * 4)
        expected = padded[:, row : row + 8, column : column + 8]
        assert torch.equal(result, expected.flip(-1) if flipped else expected)
    assert 0 < draws[:, 2].sum() < 20
    assert draws[:, :2].min() == 0
    assert draws[:, :2].max() == 4


@pytest.mark.parametrize(("padding", "colour"), [("black", -0.4 / 0.2), ("mean", 0.0)])
def test_padding_is_black_or_of_the_mean_colour_and_changes_nothing_else(padding, colour):
    some, augmentation = samples(20), Augmentation(crop=3, flip=0.5, padding=padding)
    draws = augmentation.draw(20, seeds.generator(1, "augment", 0, 1), (8, 8))
    got = some.pick(torch.arange(20), augmentation, torch.from_numpy(draws))
    for image, (row, column, flipped), result in zip(
        some.pick(torch.arange(20)), draws, got, strict=True
    ):
        padded = torch.nn.functional.pad(image, [3] * 4, value=colour)
        expected = padded[:, row : row + 8, column : column + 8]
        assert torch.allclose(result, expected.flip(-1) if flipped else expected, atol=1e-6)


def test_uncropped_samples_keep_their_place():
    augmentation = Augmentation(crop=3, crop_probability=0.5)
    draws = augmentation.draw(4000, seeds.generator(1, "augment", 0, 1), (8, 8))
    still = (draws[:, :2] == 3).all(1).mean()
    assert 0.47 < still - 0.5 / 49 < 0.53


def test_no_augmentation_draws_nothing():
    assert Augmentation().draw(5, None, (8, 8)) is None


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("ambiguous", [False, True])
@pytest.mark.parametrize("padding", ["black", "mean"])
def test_one_channel_batches_have_plain_strides_whatever_the_source(augmented, ambiguous, padding):
    images = np.zeros((9, 8, 8), dtype=np.uint8)
    images = images[:, None] if ambiguous else images.reshape(9, 1, 8, 8).copy()
    one = Samples(images, np.arange(9), (0.0,), (1.0,))
    augmentation = Augmentation(flip=1.0, padding=padding) if augmented else Augmentation()
    draws = augmentation.draw(9, seeds.generator(1, "augment", 0, 1), (8, 8))
    draws = None if draws is None else torch.from_numpy(draws)
    assert one.pick(torch.arange(9), augmentation, draws).stride() == (64, 64, 8, 1)


def test_batches_of_several_clients_picked_together_are_those_of_each_alone():
    some, augmentation = samples(shape=(1, 3, 3)), Augmentation(flip=0.5)
    orders = []
    for client in range(3):
        own = np.arange(11 * client, 11 * client + 11)
        random = seeds.generator(1, "augment", client)
        orders.append(Order(own, [4, 4, 3], augmentation.draw(11, random, (3, 3))))
    together = DealtTogether(some, augmentation)
    dealt = [together.add(order) for order in orders]
    for order, batches in zip(orders, dealt, strict=True):
        alone = deal(some, order, augmentation)
        for (x, y), (expected_x, expected_y) in zip(batches(), alone, strict=True):
            assert torch.equal(x, expected_x)
            assert torch.equal(y, expected_y)
            assert x.data_ptr() % 64 == expected_x.data_ptr() % 64


def test_the_batches_of_one_client_alone_are_picked_in_parts(monkeypatch):
    some = samples()
    most = 0

    def pick(indices, *others):
        nonlocal most
        most = max(most, len(indices))
        return Samples.pick(some, indices, *others)

    monkeypatch.setattr(some, "pick", pick)
    monkeypatch.setattr("mpifl.data.batches.CHUNK", 11)
    together = DealtTogether(some, Augmentation())
    dealt = together.add(Order(np.arange(50), [8, 8, 8, 8, 8, 8, 2], None))
    assert sum(len(y) for _, y in dealt()) == 50
    assert most <= 16


class Divisions(TorchDispatchMode):
    """Notes the devices on which tensors are divided."""

    def __init__(self):
        super().__init__()
        self.devices = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.div_.Tensor:
            self.devices.append(args[0].device.type)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_batch_for_a_device_is_normalised_there_from_samples_on_the_host(device):
    some = samples()
    indices = torch.tensor([7, 3])
    with Divisions() as divisions:
        x, y = some.batch(indices, torch.device(device))
    assert divisions.devices == [device, device]
    assert (x.device.type, y.device.type) == (device, device)
    if device == "cpu":
        assert torch.equal(x, some.pick(indices))
        assert y.tolist() == [7, 3]
