"""Ranks on devices of different kinds, which round differently."""

from __future__ import annotations

import pytest

from mpifl.runner.provenance import differing_devices

AMD = {"device": "cpu (x86_64)", "processor": "AMD"}
INTEL = {"device": "cpu (x86_64)", "processor": "Intel"}
H200 = {"device": "cuda:0 (NVIDIA H200)", "processor": "Intel"}
OTHER_H200 = {"device": "cuda:1 (NVIDIA H200)", "processor": "AMD"}
A100 = {"device": "cuda:0 (NVIDIA A100)", "processor": "Intel"}


@pytest.mark.parametrize(
    ("places", "kinds"),
    [
        ([AMD], None),
        ([AMD, AMD], None),
        ([H200, OTHER_H200], None),
        ([INTEL, AMD, INTEL], "(CPU AMD; CPU Intel)"),
        ([H200, A100], "(cuda (NVIDIA A100); cuda (NVIDIA H200))"),
        ([INTEL, H200], "(CPU Intel; cuda (NVIDIA H200))"),
    ],
    ids=["one rank", "CPUs of a kind", "GPUs of a kind", "two CPUs", "two GPUs", "CPU and GPU"],
)
def test_ranks_on_devices_of_different_kinds_are_told(places, kinds):
    told = differing_devices(places)
    assert told is None if kinds is None else kinds in told
