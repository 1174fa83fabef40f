"""`precision = "bf16"`: forward and backward passes in bfloat16, weights and sums in float32."""

import pytest
import tiny
import torch

from mpifl.training.local import Local
from mpifl.training.rounds import run
from tests.training.test_replay import EVERY_LOSS, net_for, tiny_loss, trained


def after(loss, graphs="no"):
    net = net_for(loss)
    net.bf16 = True
    return trained(net, tiny_loss(loss), Local(lr=0.01), graphs)


@pytest.mark.slow
@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_every_loss_trains_in_bfloat16_with_weights_in_float32(loss):
    results, _ = after(loss)
    weights = results[0]
    assert weights.dtype == torch.float32
    assert all(vector.isfinite().all() for vector in results)


def test_bfloat16_rounds_the_passes_and_not_the_weights():
    wide, _ = trained(net_for("ce"), tiny_loss("ce"), Local(lr=0.01), "no")
    narrow, _ = after("ce")
    difference = (wide[0] - narrow[0]).abs().max()
    assert 0 < difference < 1e-3
    assert not torch.equal(narrow[0].bfloat16().float(), narrow[0])


def test_bfloat16_has_the_same_bits_replayed():
    eager, _ = after("ce + man")
    replayed, recordings = after("ce + man", "yes")
    assert recordings == 2
    for one, other in zip(eager, replayed, strict=True):
        assert torch.equal(one, other)


def test_a_run_in_bfloat16_is_tested_in_bfloat16_and_learns():
    first = {"rounds": 1, "local": {"lr": 0.05, "epochs": 3}}
    wide = run(tiny.experiment(first), tiny.alone())
    narrow = run(tiny.experiment({**first, "precision": "bf16"}), tiny.alone())
    assert narrow.w.dtype == torch.float32
    assert not torch.equal(narrow.w, wide.w)
    assert abs(narrow.score.loss - wide.score.loss) < 0.05
