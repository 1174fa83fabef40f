"""No step of a run mixes host and device: torch's meta device, which has no numbers, stands for a
GPU, so these tests need none.

What the host reads from it is made up, and every other call must find its tensors in one place.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import tiny
import torch
from matrix import FACTORS, impossible, raw
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mpifl.config import merge
from mpifl.net import Net
from mpifl.runner import build, schema
from mpifl.training.rounds import run

ATEN = torch.ops.aten
MOVING = (ATEN.copy_.default, ATEN._to_copy.default, ATEN.index.Tensor)
"""calls that may have tensors in two places, on a real GPU too"""
MADE_UP = 0.5


class PretendedGpu(TorchDispatchMode):
    """Reads made-up numbers from the meta device; refuses calls that mix it with the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(tensor.is_meta for tensor in tensors):
            if func is ATEN._local_scalar_dense.default:
                return True if args[0].dtype == torch.bool else MADE_UP
            if func is ATEN._to_copy.default and kwargs.get("device") == torch.device("cpu"):
                return torch.full(args[0].shape, MADE_UP).to(kwargs.get("dtype") or args[0].dtype)
            if func is ATEN.copy_.default and not args[0].is_meta:
                return args[0].fill_(MADE_UP)
        places = {tensor.device.type for tensor in tensors if tensor.dim()}
        if len(places) > 1 and func not in MOVING:
            raise AssertionError(f"{func} has tensors on the host and on the device")
        return func(*args, **kwargs)


@pytest.fixture
def pretended(monkeypatch):
    monkeypatch.setattr(Net, "cast", lambda net: nullcontext())  # autocast knows no meta device
    with PretendedGpu():
        yield torch.device("meta")


def train(config: dict, device: torch.device) -> None:
    resolved = schema.resolve(merge(tiny.RUN, {"rounds": 1, **config}))
    dataset = build.load_data(resolved.data, resolved.seed)
    progress = run(build.experiment(resolved, dataset, device), tiny.alone())
    assert progress.w.device.type == "cpu"


def test_calls_that_mix_host_and_device_are_refused(pretended):
    with pytest.raises(AssertionError, match="on the host and on the device"):
        torch.ones(3, device=pretended).add_(torch.ones(3))


MASKED = ("fedper", "fedrep", "fedbn")
"""algorithms that choose coordinates by a mask, whose number the meta device does not know"""


@pytest.mark.parametrize("algorithm", [n for n in FACTORS["algorithm"] if n not in MASKED])
def test_no_algorithm_mixes_host_and_device(pretended, algorithm):
    train(raw({"algorithm": algorithm, "model": "mlp"}), pretended)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "model"),
    [
        ("mixup(stochdepth(fedlc + man, keep=0.5)) + fedalign + rcl", "resnet20"),
        ("mixup(rs) + decorr + moon", "lenet"),
        ("ce + gmt", "lenet"),
    ],
)
def test_no_loss_mixes_host_and_device(pretended, loss, model):
    choice = {"loss": loss, "model": model}
    assert not impossible(choice)
    rounds = 2 if "moon" in loss else 1
    train({**raw(choice), "rounds": rounds}, pretended)


@pytest.mark.parametrize(
    "options",
    [
        {"local": {"optimizer": "adamw", "momentum": 0, "momentum_state": "persist"}},
        {"local": {"gradient": "asam", "nesterov": True, "momentum_state": "persist"}},
        {"model": {"name": "lenet", "norm": "batch"}, "buffers": "pooled"},
        {
            "data": {"options": {"train": 60}, "augment": {"crop": 2, "flip": 0.5}},
            "holdout": {"ratio": 3},
            "evaluation": {
                "train_every": 1,
                "clients": True,
                "models": ["cohort", "all", "average"],
                "average": "ema",
            },
        },
    ],
    ids=["adamw", "asam", "pooled statistics", "evaluations"],
)
def test_no_option_mixes_host_and_device(pretended, options):
    train(options, pretended)
