"""The one place that imports torchvision. It works beside a torch of another build too.

PyPI's torchvision is built for CUDA. Beside a CPU-only torch its compiled operators cannot be
loaded, and its import fails at two of them, `nms` and `qnms`: it registers shape functions for
them without a check that they exist. Its data sets and models need neither. If the import fails
there, and only then, this module declares the two signatures and imports again. A call of one of
the two still fails, because the compiled code is not there.

torchvision is an optional dependency: `pip install 'mpifl[vision]'`.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

import torch

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@cache
def torchvision() -> ModuleType:
    """Import torchvision, on the first call. Raises ImportError where it is not installed."""
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        _declare_missing()
        import torchvision
    return torchvision


def datasets() -> ModuleType:
    """Import `torchvision.datasets`, as `torchvision()` does."""
    return torchvision().datasets


@cache  # a library object takes its declarations with it when it is collected
def _declare_missing() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _SIGNATURE)
    return library
