"""Runs end in the bits that are on record, on machines that have a record."""

from __future__ import annotations

import pytest
from golden import recorded_runs

RECORD = recorded_runs.record()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        RECORD is None,
        reason="bits are on record for another processor, torch or numpy",
    ),
]


@pytest.mark.parametrize("name", recorded_runs.RUNS)
def test_a_run_has_the_bits_on_record(name):
    assert recorded_runs.bits_of(name) == RECORD[name]


def test_the_demo_has_the_bits_on_record(tmp_path):
    assert recorded_runs.bits_of_the_demo(tmp_path) == RECORD["demo"]
