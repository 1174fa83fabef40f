"""Local losses: one paper, one file; `loss(step) -> scalar`.

They know nothing of MPI, files, devices or config.
"""

from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.decorr import Decorr
from mpifl.losses.fedalign import FedAlign
from mpifl.losses.fedlc import FedLC
from mpifl.losses.gmt import Gmt
from mpifl.losses.gradaug import GradAug
from mpifl.losses.loss import Loss
from mpifl.losses.man import Man
from mpifl.losses.mixup import Mixup
from mpifl.losses.moon import Moon
from mpifl.losses.ntd import Ntd
from mpifl.losses.prox import Prox
from mpifl.losses.rcl import Rcl
from mpifl.losses.rs import Rs
from mpifl.losses.stochdepth import StochDepth
from mpifl.losses.uv import Uv

LOSSES: dict[str, type[Loss]] = {
    "ce": CrossEntropy,
    "fedlc": FedLC,
    "man": Man,
    "fedalign": FedAlign,
    "gradaug": GradAug,
    "moon": Moon,
    "prox": Prox,
    "gmt": Gmt,
    "ntd": Ntd,
    "decorr": Decorr,
    "uv": Uv,
    "rs": Rs,
    "rcl": Rcl,
    "mixup": Mixup,
    "stochdepth": StochDepth,
}
"""of which `mixup` and `stochdepth` wrap others"""
