"""Local losses: one paper, one file; `loss(step) -> scalar`.

They know nothing of MPI, files, devices or config.
"""

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.fedalign import FedAlign
from mpifl.losses.fedlc import FedLC
from mpifl.losses.gmt import Gmt
from mpifl.losses.gradaug import GradAug
from mpifl.losses.loss import Loss
from mpifl.losses.man import Man
from mpifl.losses.mixup import Mixup
from mpifl.losses.moon import Moon
from mpifl.losses.prox import Prox
from mpifl.losses.stochdepth import StochDepth

LOSSES: dict[str, type[Loss]] = {
    "ce": CrossEntropy,
    "fedlc": FedLC,
    "man": Man,
    "fedalign": FedAlign,
    "gradaug": GradAug,
    "moon": Moon,
    "prox": Prox,
    "gmt": Gmt,
    "mixup": Mixup,
    "stochdepth": StochDepth,
}
"""of which `mixup` and `stochdepth` wrap others"""
