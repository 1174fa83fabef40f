"""Tests that need a CUDA GPU, and are skipped without one.

`MPIFL_GPU_TESTS_ON=cpu` runs them on the CPU, where they prove themselves and nothing of a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from mpifl.parallel.devices import configure


@pytest.fixture(scope="session")
def kind() -> str:
    """The kind of device that these tests compute on: `cuda`, or `cpu` in a dry run."""
    if os.environ.get("MPIFL_GPU_TESTS_ON") == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA GPU")
    return "cuda"


@pytest.fixture
def device(kind: str) -> Iterator[torch.device]:
    """The device, with kernels as a run has them."""
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    device = torch.device("cuda", 0) if kind == "cuda" else torch.device("cpu")
    configure(device, 1)
    yield device
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = flags


@pytest.fixture
def gpu(kind: str) -> torch.device:
    """A real GPU, for what a CPU cannot stand for."""
    if kind == "cpu":
        pytest.skip("only a GPU has this")
    return torch.device("cuda", 0)
