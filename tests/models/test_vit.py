"""The vision transformer: what its norms see, and the two forms of its attention."""

import pytest
import torch

from mpifl.models import MODELS
from mpifl.models.layers import norm
from mpifl.models.vit import Attention, TokenNorm
from mpifl.options import BadInput


def batch(*size):
    return torch.randn(*size, generator=torch.Generator().manual_seed(1))


def test_hidden_layers_are_those_of_the_encoders():
    out = MODELS["vit"](depth=3, dim=16, expansion=4).build((3, 32, 32), 10)(batch(2, 3, 32, 32))
    assert [tuple(a.shape) for a in out.activations] == [(2, 64, 64)] * 3
    assert out.features.shape == (2, 16)


@pytest.mark.parametrize("kind, axes", [("layer", (2,)), ("batch", (0, 1))])
def test_layer_norm_sees_a_token_and_batch_norm_all_tokens(kind, axes):
    y = TokenNorm(norm(kind, 6))(3 + batch(4, 5, 6))
    means = y.mean(axes)
    torch.testing.assert_close(means, torch.zeros_like(means), atol=1e-6, rtol=0)


def test_layer_norm_is_torchs_over_channels():
    x = batch(4, 5, 6)
    torch.testing.assert_close(
        TokenNorm(norm("layer", 6))(x), torch.nn.functional.layer_norm(x, (6,))
    )


def test_attention_is_the_softmax_of_scaled_products_fused_or_not():
    attention, x = Attention(8, 2), batch(3, 5, 8)
    q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in attention.qkv(x).chunk(3, -1))
    weights = (q @ k.transpose(-1, -2) / 2).softmax(-1)
    expected = attention.out((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention.train()(x), expected)
    torch.testing.assert_close(attention.eval()(x), expected)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"patch": 3}, r"model\.patch: expected a divisor of 8 and 8 pixels; got 3"),
        ({"heads": 3}, r"model\.heads: expected a divisor of dim = 128; got 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(BadInput, match=message):
        MODELS["vit"](**options).build((1, 8, 8), 10)
