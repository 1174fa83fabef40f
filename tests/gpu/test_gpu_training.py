"""Runs on the GPU end where runs on the CPU end, with every method, to the tolerance of float32."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from matrix import FACTORS, MODELS_OF, RESIDUAL, impossible, raw

from mpifl.config import merge
from mpifl.data.augmentation import Augmentation
from mpifl.data.batches import DealtTogether, Order, Samples, deal
from mpifl.models import MODELS
from mpifl.parallel.devices import configure
from mpifl.parallel.exact_sum import WeightedSum
from mpifl.runner import build, schema
from mpifl.training.progress import Progress
from mpifl.training.rounds import run

APART = 0.02
"""the largest distance of the two ends, in parts of the way from the start"""
STEPS = {
    "rounds": 2,
    "data": {"options": {"train": 16}},
    "local": {"lr": 0.01, "batch": 4, "clip": 10.0},
}

CHOICES = [
    {factor: name}
    for factor in ("algorithm", "loss", "gradient", "norm")
    for name in FACTORS[factor]
]


def completed(choice: dict[str, str]) -> dict[str, str]:
    """With a model that can have it."""
    loss = choice.get("loss", "")
    able = [models for word, models in MODELS_OF.items() if word in loss]
    model = "resnet20" if RESIDUAL in able or choice.get("algorithm") == "fedbn" else "lenet"
    full = {**choice, "model": model}
    if model == "resnet20":  # of a few images, BatchNorm enlarges differences of rounding
        full["norm"] = "group"
    if "gmt" in loss:
        full["algorithm"] = "fedgmt"
    assert not impossible(full)
    return full


def trained(config: dict, device: torch.device) -> tuple[torch.Tensor, Progress]:
    """The weights at the start, and how the run stands at its end."""
    resolved = schema.resolve(merge(tiny.RUN, config))
    dataset = build.load_data(resolved.data, resolved.seed)
    experiment = build.experiment(resolved, dataset, device)
    start = experiment.clients.net.weights.cpu().clone()
    return start, run(experiment, tiny.alone())


def rounded_otherwise(device: torch.device, config: dict) -> dict:
    """In a dry run: the memory format that is not the model's own, whose kernels round otherwise,
    as a GPU's do.
    """
    if device.type == "cuda":
        return {}
    is_last = MODELS[config["model"]["name"]]().channels_last
    return {"runtime": {"channels_last": "no" if is_last else "yes"}}


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: " ".join(*choice.items()))
def test_every_method_ends_where_it_ends_on_the_cpu(device, choice):
    config = merge(raw(completed(choice)), STEPS)
    start, expected = trained(config, torch.device("cpu"))
    configure(device, 1)
    _, got = trained(config | rounded_otherwise(device, config), device)
    way = (expected.w - start).norm()
    assert way > 0
    assert (got.w - expected.w).norm() < APART * way
    assert got.rows[:, :5] == pytest.approx(expected.rows[:, :5], rel=0.02, abs=0.02, nan_ok=True)
    assert got.score.loss == pytest.approx(expected.score.loss, rel=0.01)
    for name, vector in expected.server.items():
        assert got.server[name].shape == vector.shape
        assert got.server[name].isfinite().all()


@pytest.mark.parametrize("algorithm", FACTORS["algorithm"])
def test_graphs_in_two_lanes_end_in_the_bits_of_eager_steps(device, algorithm):
    config = merge(raw(completed({"algorithm": algorithm})), STEPS)
    _, eager = trained({**config, "runtime": {"graphs": "no"}}, device)
    _, graphs = trained({**config, "runtime": {"graphs": "yes", "lanes": 2}}, device)
    assert graphs.w.equal(eager.w)
    assert graphs.buffers.equal(eager.buffers)
    assert graphs.rows[:, :5].tolist() == eager.rows[:, :5].tolist()


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_lower_precision_trains_nearly_as_float32_does(device, precision):
    config = {"rounds": 1, "local": {"lr": 0.05, "epochs": 3}}
    start, wide = trained(config, device)
    configure(device, 1, tf32=precision == "tf32")
    _, narrow = trained({**config, "precision": precision}, device)
    assert narrow.w.dtype == torch.float32
    assert not torch.equal(narrow.w, start)
    assert narrow.score.loss == pytest.approx(wide.score.loss, abs=0.05)
    if precision == "bf16":
        assert not torch.equal(narrow.w, wide.w)


def test_sums_have_the_bits_of_the_cpu_round_after_round(device):
    random = torch.Generator().manual_seed(0)
    sums = {}
    for place in (torch.device("cpu"), device):  # a round without replies
        sums[place] = WeightedSum({"w": torch.zeros(1000, device=place)})
        assert not sums[place].total()
    for _ in range(2):
        sent = {"w": torch.randn(1000, generator=random), "c": torch.randn(3, generator=random)}
        replies = [{name: vector + 0.1 * k for name, vector in sent.items()} for k in range(5)]
        for place in (torch.device("cpu"), device):
            moved = {name: vector.to(place) for name, vector in sent.items()}
            sums[place].begin(moved, expected=5)
            for reply in replies:
                sums[place].add({name: vector.to(place) for name, vector in reply.items()}, 0.2)
        expected = sums[torch.device("cpu")].total()
        found = sums[device].total()
        assert all(found[name].equal(expected[name]) for name in expected)


def test_batches_begin_where_tensors_of_their_own_would(gpu):
    images = np.zeros((30, 1, 5, 5), dtype=np.uint8)
    samples = Samples(images, np.zeros(30, dtype=np.int64), (0.5,), (0.5,), gpu)
    order = Order(np.arange(30), [7, 7, 7, 7, 2], None)
    together = DealtTogether(samples, Augmentation())
    dealt = [together.add(order), together.add(order)]
    for batches in (deal(samples, order, Augmentation()), dealt[0](), dealt[1]()):
        for x, _ in batches:
            assert x.data_ptr() % 16 == 0
