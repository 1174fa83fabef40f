"""The same as `mpifl features`: python analysis/features.py --help."""

import environment  # noqa: F401  # must be first

from mpifl.commands.features import features

features()
