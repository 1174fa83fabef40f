"""Cross-entropy with label smoothing, by hand."""

import pytest
import tiny
import torch
from torch.nn import functional

from mpifl.losses.cross_entropy import CrossEntropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smoothing_spreads_its_share_over_all_classes(smoothing):
    step = tiny.step(tiny.net())
    target = (1 - smoothing) * functional.one_hot(
        step.y, tiny.CLASSES
    ).double() + smoothing / tiny.CLASSES
    expected = -(target * step.out.logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(
        CrossEntropy(smoothing=smoothing)(step), expected, rtol=1e-12, atol=0
    )
