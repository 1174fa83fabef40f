"""Names in the paths of findings. This file imports nothing, so that tables need no torch."""

from __future__ import annotations

COHORT = "cohort"
"""the samples of a round's clients together"""
AVERAGING = "averaging"
"""the finding about the way between a round's models"""
FLATNESS = "flatness"
"""the quantity that is measured of models on chosen samples"""
