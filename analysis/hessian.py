"""The same as `mpifl hessian`: python analysis/hessian.py --help."""

from mpifl.commands.hessian import hessian

hessian()
