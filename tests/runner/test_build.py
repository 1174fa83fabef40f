"""What a config makes of its data."""

import numpy as np
import pytest
import tiny
import torch

import mpifl
from mpifl.data.dataset import assemble
from mpifl.data.packed import write
from mpifl.data.sources import SOURCES
from mpifl.runner import schema


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("packed", [False, True])
def test_images_that_are_not_normalised_are_in_zero_to_one(split, packed, tmp_path):
    raw = {"data": {"normalise": False}}
    if packed:
        path = tmp_path / "images.h5"
        write(
            SOURCES["synthetic"].load(**{**tiny.RUN["data"]["options"], "shape": tiny.SHAPE}), path
        )
        raw = {"data": {"path": str(path), "normalise": False}}
    x = tiny.experiment(raw)
    samples = x.clients.samples if split == "train" else x.test
    images = samples.pick(torch.arange(len(samples)))
    assert torch.equal(images, samples.images / 255)
    assert 0 <= images.min() < 0.1 and 0.9 < images.max() <= 1


def test_by_default_images_have_mean_zero_and_deviation_one():
    samples = tiny.experiment({}).clients.samples
    images = samples.pick(torch.arange(len(samples)))
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        images.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-3, rtol=0
    )


def test_whether_they_are_stands_in_the_resolved_text():
    assert "normalise = true" in schema.text(schema.resolve({}))


def test_a_run_on_data_with_a_constant_channel_trains_and_says_so(elsewhere, capsys):
    source = SOURCES["synthetic"].load(shape=(2, 8, 8), classes=4, train=40, test=20)
    for images in (source.train.images, source.test.images):
        images[:, 1] = 77
    data = assemble("half", source.train, source.test, source.classes, "made up")
    write(data, "half.h5")
    run = mpifl.run({"rounds": 2, "clients": 2, "data": {"path": "half.h5"}}, out="run")
    assert run is not None
    assert np.isfinite(run.rounds["test_loss"]).all()
    assert "warning: half: the training images do not vary in these channels" in (
        capsys.readouterr().out
    )
