"""The same as `mpifl curvature`: python analysis/curvature.py --help."""

import environment  # noqa: F401  # must be first

from mpifl.commands.curvature import curvature

curvature()
