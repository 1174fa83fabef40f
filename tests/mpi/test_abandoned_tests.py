"""A test that outlasts the grace period of a stop is abandoned on all ranks together, and a resumed
run does it first.
"""

from __future__ import annotations

import numpy as np
import pytest
import tomli_w
from mpi.calls import abandoned_tests
from mpi.calls.abandoned_tests import CASES
from mpi.job import MPIS
from mpi.launch import ALONE
from mpi.running import columns, resume, run

from mpifl.store import Run

CONFIG = {
    "rounds": 6,
    "clients": 4,
    "data": {"name": "digits", "train_limit": 64, "test_limit": 32},
    "partition": {"name": "iid"},
    "model": {"name": "mlp", "hidden": [4]},
    "evaluation": {"batch": 8},
    "runtime": {"grace_seconds": 0.0},
}


@pytest.mark.parametrize("mpi", MPIS)
def test_a_test_that_outlasts_the_grace_is_abandoned_and_done_first_when_resumed(
    mpi, job, tmp_path
):
    config = tmp_path / "config.toml"
    config.write_text(tomli_w.dumps(CONFIG))
    assert run(config, tmp_path / "whole", 1, mpi=ALONE).returncode == 0
    whole = Run.open(tmp_path / "whole")

    codes = job(mpi).call(2, abandoned_tests.run_all, config, tmp_path)

    assert codes == [[75] * len(CASES), [0] * len(CASES)]
    for name, case in CASES.items():
        stopped = Run.open(tmp_path / name)
        assert stopped.status == "stopped"
        assert len(stopped.rounds["round"]) == case.test
        assert np.isnan(stopped.rounds["test_accuracy"][-1])
        output = resume(job(mpi), 2, config, tmp_path / name, *case.options)
        assert f"round {case.test}/6  accuracy " in output
        assert columns(tmp_path / name) == columns(tmp_path / "whole")
        evaluations = Run.open(tmp_path / name).evaluations
        for array, values in whole.evaluations.items():
            np.testing.assert_array_equal(evaluations[array], values)
