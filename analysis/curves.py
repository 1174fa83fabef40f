"""The same as `mpifl curves`: python analysis/curves.py --help."""

import environment  # noqa: F401  # must be first

from mpifl.commands.curves import curves

curves()
