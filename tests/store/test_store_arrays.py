"""The digest of a model's flat vectors."""

import hashlib

import numpy as np
import pytest
import torch

from mpifl.net import digest
from mpifl.store import sha256


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_digest_is_of_little_endian_bytes_in_order(dtype):
    weights, buffers = np.arange(5, dtype=dtype), np.ones(2, dtype)
    expected = hashlib.sha256(
        weights.astype("<" + dtype).tobytes() + buffers.astype("<" + dtype).tobytes()
    )
    assert sha256(weights, buffers) == expected.hexdigest()
    assert sha256(weights.astype(">" + dtype), buffers) == expected.hexdigest()
    assert sha256(np.repeat(weights, 2)[::2], buffers) == expected.hexdigest()
    assert digest(torch.from_numpy(weights), torch.from_numpy(buffers)) == expected.hexdigest()


def test_the_digest_sees_one_bit_and_the_order():
    weights = np.arange(5, dtype="f4")
    digests = {
        sha256(weights),
        sha256(weights[::-1]),
        sha256(np.nextafter(weights, 9)),
        sha256(weights, [1.0]),
    }
    assert len(digests) == 4
