"""Runs end in the bits that are on record, on the machine that wrote them."""

from __future__ import annotations

import json

import pytest
from golden import recorded_runs

RECORD = json.loads(recorded_runs.RECORD.read_text())

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        RECORD["machine"] != recorded_runs.machine(),
        reason="bits are on record for another processor, torch or numpy",
    ),
]


@pytest.mark.parametrize("name", recorded_runs.RUNS)
def test_a_run_has_the_bits_on_record(name):
    assert recorded_runs.bits_of(name) == RECORD["bits"][name]


def test_the_demo_has_the_bits_on_record(tmp_path):
    assert recorded_runs.bits_of_the_demo(tmp_path) == RECORD["bits"]["demo"]
