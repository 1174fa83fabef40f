"""Local losses: one paper, one file; `loss(step) -> scalar`. They know nothing of MPI, files, devices or config."""

from mpifl.losses.cross_entropy import CrossEntropy

LOSSES = {"ce": CrossEntropy}
