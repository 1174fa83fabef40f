"""GradAug: the divergence's direction, the sub-networks drawn, and what they leave alone."""

import pytest
import tiny
import torch

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.gradaug import GradAug

WIDE = (1.0,)


def build(norm="batch"):
    return tiny.net("resnet20", norm=norm)


def test_a_sub_network_that_is_the_whole_one_agrees_with_it():
    net = build()
    got = tiny.taken(net, GradAug(width=1.0, resolutions=WIDE), tiny.step(net))
    assert abs(got.value) < 1e-14
    assert got.gradient.abs().max() < 1e-13


def test_the_divergence_is_from_the_full_predictions_to_the_narrow_ones():
    net = build()
    step = tiny.step(net)
    got = tiny.taken(net, GradAug(mu=1.3, n=1, width=0.5, resolutions=WIDE), step)
    full, narrow = step.out.logits.detach().softmax(-1), net(step.x, width=0.5).logits.softmax(-1)
    expected = 1.3 * (full * (full / narrow).log()).sum(-1).mean()
    torch.testing.assert_close(got.value, expected.detach(), rtol=1e-11, atol=0)
    torch.testing.assert_close(got.gradient, net.take_gradient(expected), rtol=1e-9, atol=1e-13)


def test_running_statistics_are_those_of_the_full_pass_alone():
    for options in ({"width": 0.5}, {"width": 1.0}):
        plain, with_term = build(), build()
        CrossEntropy()(tiny.step(plain))
        at = tiny.step(with_term)
        (CrossEntropy()(at) + GradAug(**options)(at)).backward()
        assert torch.equal(plain.buffers, with_term.buffers)


def passes(term, number=0, shape=(3, 8, 8)):
    """Widths and image sides of the passes of one step, the full one first."""
    net, seen = tiny.net("resnet20", shape=shape), []
    net.module.register_forward_pre_hook(
        lambda module, x, options: seen.append((options.get("width", 1.0), tuple(x[0].shape[2:]))),
        with_kwargs=True,
    )
    term(tiny.step(net, number=number, images=tiny.batch(2, shape=shape)))
    return seen


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_narrowest_is_always_there_and_the_others_are_between(n):
    drawn = [passes(GradAug(n=n, width=0.6), number) for number in range(4)]
    for full, *narrow in drawn:
        widths = [width for width, _ in narrow]
        assert full == (1.0, (8, 8))
        assert len(widths) == n
        assert widths == sorted(widths, reverse=True)
        assert widths[-1] == 0.6
        assert all(0.6 <= width <= 1 for width in widths)
        assert {side for _, side in narrow} <= {(8, 8), (7, 7), (6, 6), (5, 5)}
    assert len({tuple(step) for step in drawn}) > 1
    assert passes(GradAug(n=n, width=0.6), 2) == drawn[2]


def test_all_widths_can_be_drawn():
    drawn = [
        [width for width, _ in passes(GradAug(n=2, width=0.6, narrowest=False), i)[1:]]
        for i in range(4)
    ]
    assert all(0.6 < low <= high <= 1 for high, low in drawn)
    assert len({low for _, low in drawn}) == 4


def test_an_oblong_image_stays_oblong():
    assert passes(GradAug(n=1, resolutions=(0.5,)), shape=(3, 8, 16))[1] == (0.8, (4, 8))
