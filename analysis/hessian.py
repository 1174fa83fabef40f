"""The same as `mpifl hessian`: python analysis/hessian.py --help."""

import environment  # noqa: F401  # must be first

from mpifl.commands.hessian import hessian

hessian()
