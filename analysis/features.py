"""The same as `mpifl features`: python analysis/features.py --help."""

from mpifl.commands.features import features

features()
