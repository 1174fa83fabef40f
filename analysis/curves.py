"""The same as `mpifl curves`: python analysis/curves.py --help."""

from mpifl.commands.curves import curves

curves()
