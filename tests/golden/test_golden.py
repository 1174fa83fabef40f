"""Runs end in the bits that are on record, on the machine that wrote them."""

from __future__ import annotations

import json

import pytest
from golden import runs

RECORD = json.loads(runs.RECORD.read_text())

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        RECORD["machine"] != runs.machine(),
        reason="bits are on record for another processor, torch or numpy",
    ),
]


@pytest.mark.parametrize("name", runs.RUNS)
def test_a_run_has_the_bits_on_record(name):
    assert runs.bits_of(name) == RECORD["bits"][name]


def test_the_demo_has_the_bits_on_record(tmp_path):
    assert runs.bits_of_the_demo(tmp_path) == RECORD["bits"]["demo"]
