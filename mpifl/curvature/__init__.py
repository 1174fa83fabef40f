"""Curvature of a net's loss at given weights: operators, and estimators with error bars.

    objective = Objective(net, Fixed(samples, indices, batch=100))  # the mean cross-entropy
    H = Curvature(objective, w)                                     # its Hessian at w [d]
    product = H(v)                                                  # H v
    ends = lanczos(H, top=10, bottom=1)                             # eigenpairs
    found = diagonal(H, ends.basis, sizes=H.sizes)                  # trace, diagonal
    density = spectrum(H)                                           # the whole spectrum

The estimators work on any `Symmetric`, such as a dense `Matrix`. Nothing here knows of federated
learning, MPI or files.
"""

from mpifl.curvature.diagonal import Diagonal, Estimate, diagonal
from mpifl.curvature.disagreement import Disagreement, LostInNoise, as_released, disagreement
from mpifl.curvature.flatness import Flatness, flatness
from mpifl.curvature.krylov import Basis
from mpifl.curvature.lanczos import Eigenpairs, Ends, lanczos
from mpifl.curvature.layers import LayerTop, layer_tops, layer_traces, layers
from mpifl.curvature.memory import Memory, memory
from mpifl.curvature.objective import Objective
from mpifl.curvature.operator import Curvature, gauss_newton, hessian
from mpifl.curvature.power import Dominant, deflated, power
from mpifl.curvature.samples import Fixed, Fresh
from mpifl.curvature.sharpness import Sharpness, sharpness
from mpifl.curvature.spectrum import Spectrum, spectrum
from mpifl.curvature.symmetric import Matrix, Symmetric, dense
from mpifl.curvature.trace import Trace, running_trace, trace

__all__ = [
    "Basis",
    "Curvature",
    "Diagonal",
    "Disagreement",
    "Dominant",
    "Eigenpairs",
    "Ends",
    "Estimate",
    "Fixed",
    "Flatness",
    "Fresh",
    "LayerTop",
    "LostInNoise",
    "Matrix",
    "Memory",
    "Objective",
    "Sharpness",
    "Spectrum",
    "Symmetric",
    "Trace",
    "as_released",
    "deflated",
    "dense",
    "diagonal",
    "disagreement",
    "flatness",
    "gauss_newton",
    "hessian",
    "lanczos",
    "layer_tops",
    "layer_traces",
    "layers",
    "memory",
    "power",
    "running_trace",
    "sharpness",
    "spectrum",
    "trace",
]
