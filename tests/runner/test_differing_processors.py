"""Ranks on processors of different kinds, which round differently."""

from __future__ import annotations

import pytest

from mpifl.runner.provenance import differing_processors

AMD = {"device": "cpu (x86_64)", "processor": "AMD"}
INTEL = {"device": "cpu (x86_64)", "processor": "Intel"}
GPU = {"device": "cuda:0 (NVIDIA H200)", "processor": "Intel"}


@pytest.mark.parametrize(
    ("places", "kinds"),
    [
        ([AMD], None),
        ([AMD, AMD], None),
        ([AMD, GPU], None),
        ([INTEL, AMD, INTEL], "(AMD; Intel)"),
    ],
    ids=["one rank", "two of a kind", "a GPU computes", "two kinds"],
)
def test_ranks_on_cpus_of_different_kinds_are_told(places, kinds):
    told = differing_processors(places)
    assert told is None if kinds is None else kinds in told
