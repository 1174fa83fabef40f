"""The one place that imports torchvision, and makes that possible beside a torch that it was not
built for.

PyPI's torchvision is built for CUDA. Beside a CPU-only torch its compiled operators cannot be
loaded, and then its import stops at two of them, `nms` and `qnms`, for which it registers shape
functions without asking whether they exist. Its data sets and models need neither. So when, and
only when, the import stops there, the two signatures are declared and the import is tried again:
calling one of them still fails, as it must without the compiled code.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

import torch

SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@cache
def torchvision() -> ModuleType:
    """The torchvision module."""
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        _declare_missing()
        import torchvision
    return torchvision


def datasets() -> ModuleType:
    """`torchvision.datasets`, imported on the first call."""
    return torchvision().datasets


@cache  # a library object takes its declarations with it when it is collected
def _declare_missing() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + SIGNATURE)
    return library
