"""Federated algorithms: one paper, one file; pure functions with explicit state.

`algorithm.py` has the protocol.
"""

from mpifl.algorithms.central import Central
from mpifl.algorithms.fedacg import FedAcg
from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedbabu import FedBabu
from mpifl.algorithms.fedbn import FedBN
from mpifl.algorithms.fedcm import FedCM
from mpifl.algorithms.feddc import FedDC
from mpifl.algorithms.feddyn import FedDyn
from mpifl.algorithms.fedexp import FedExP
from mpifl.algorithms.fedgloss import FedGloss
from mpifl.algorithms.fedgmt import FedGmt
from mpifl.algorithms.fedlesam import FedLesam
from mpifl.algorithms.fedmoswa import FedMoSwa
from mpifl.algorithms.fednova import FedNova
from mpifl.algorithms.fedopt import SERVER_OPTIMIZERS
from mpifl.algorithms.fedper import FedPer
from mpifl.algorithms.fedprox import FedProx
from mpifl.algorithms.fedrep import FedRep
from mpifl.algorithms.fedsmoo import FedSmoo
from mpifl.algorithms.fedspeed import FedSpeed
from mpifl.algorithms.fedswa import FedSwa
from mpifl.algorithms.local_only import LocalOnly
from mpifl.algorithms.scaffold import Scaffold
from mpifl.training.algorithm import Algorithm

__all__ = ["ALGORITHMS", "SERVER_OPTIMIZERS"]

ALGORITHMS: dict[str, type[Algorithm]] = {
    "fedavg": FedAvg,
    "fedprox": FedProx,
    "scaffold": Scaffold,
    "feddyn": FedDyn,
    "feddc": FedDC,
    "fedspeed": FedSpeed,
    "fednova": FedNova,
    "fedbn": FedBN,
    "fedper": FedPer,
    "fedrep": FedRep,
    "fedbabu": FedBabu,
    "central": Central,
    "local": LocalOnly,
    "fedcm": FedCM,
    "fedexp": FedExP,
    "fedacg": FedAcg,
    "fedsmoo": FedSmoo,
    "fedlesam": FedLesam,
    "fedswa": FedSwa,
    "fedmoswa": FedMoSwa,
    "fedgloss": FedGloss,
    "fedgmt": FedGmt,
}
