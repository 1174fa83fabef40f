"""`mpifl hessian` as a user meets it: what it says of findings, and which mistakes it refuses."""

import re

import numpy as np
import pytest

from mpifl.analysis.hessian import report
from mpifl.analysis.hessian.metrics import disagreements, scalars
from mpifl.analysis.models.stored import select_rounds
from mpifl.store.measurements import Finding, Findings


def test_the_command_measures_and_goes_on(run, command):
    code, said, _ = command(
        "hessian", str(run.path), "--quantities", "eigenvalues", "--samples", "0"
    )
    assert code == 0
    assert re.search(
        r"1 measurement of 1 model on 1 rank: "
        r"about \d+ Hessian-vector products, \d+ s, \d+ MB a rank",
        said,
    )
    assert "round 2 global eigenvalues" in said
    code, said, _ = command(
        "hessian", str(run.path), "--quantities", "eigenvalues", "--samples", "0"
    )
    assert code == 0
    assert "measurement 'exact' has everything already" in said


MISTAKES = {
    "no such run": (["nowhere"], "nowhere: expected a run's folder"),
    "no such round": (
        ["RUN", "--rounds", "9"],
        r"expected some of the stored rounds \[1, 2\]; got 9",
    ),
    "no number": (
        ["RUN", "--rounds", "x"],
        "expected last, best, all, or numbers with commas; got 'x'",
    ),
    "no clients": (
        ["RUN", "--rounds", "1", "--clients"],
        "clients' models; got round 1 without; allowed: rounds 2",
    ),
    "no average": (["RUN", "--average"], r'evaluation.models = \["average"\]'),
    "no such quantity": (
        ["RUN", "--quantities", "trace"],
        "--quantities: expected some of objective, eigenvalues",
    ),
    "a name with a path": (
        ["RUN", "--name", "a/b"],
        "--name: expected a name of letters.*; got 'a/b'",
    ),
    "a name with dots alone": (["RUN", "--name", ".."], "--name: expected a name of letters"),
    "no such option": (["RUN", "--set", "tolerence=1"], "tolerence"),
    "out of range": (["RUN", "--top", "0"], "exact.top"),
    "an option of the other protocol": (
        ["RUN", "--protocol", "fedalign", "--samples", "5"],
        "samples",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line_and_exit_code_2(run, command, mistake):
    arguments, line = MISTAKES[mistake]
    code, _, heard = command(
        "hessian", *(str(run.path) if word == "RUN" else word for word in arguments)
    )
    assert code == 2
    assert re.search(line, heard)
    assert heard.count("\n") == 1
    assert not (run.path / "hessian.h5").exists()


def test_rounds_have_names(run):
    assert select_rounds(run, "all") == [1, 2]
    assert select_rounds(run, "last") == [2]
    assert select_rounds(run, "1,2") == [1, 2]
    best = int(run.rounds["round"][run.rounds["test_accuracy"].argmax()])
    assert select_rounds(run, "best") == [best]


def test_a_round_named_twice_is_one(run):
    assert select_rounds(run, "2,1,2") == [2, 1]


def test_a_norm_below_its_error_is_said_to_be_so():
    arrays = {"trace": np.float64(-3.0), "trace_error": np.float64(4.0)}
    finding = Finding({**arrays, "norm": np.float64(0.0), "norm_error": np.float64(2.1)}, {})
    said = report._in_words(finding)
    assert said == "trace -3 ± 4  norm below its error, 2.1 (raise --probes)"


def test_a_cosine_out_of_its_range_is_said_to_be_noise_with_the_probes_that_it_needs():
    arrays = {"H_N": 3.0, "H_N_error": 0.5, "H_D": 1.19, "H_D_error": 0.87}
    said = report._in_words(Finding(arrays, {"probes": 40}))
    assert said == "H_N 3 ± 0.5  H_D lost in noise, needs about 3,100 probes"
    small = report._in_words(Finding({**arrays, "H_D": 1.004, "H_D_error": 0.012}, {"probes": 40}))
    assert small.endswith("H_D 1.0040 ± 0.012 (out of its range by noise)")
    clear = report._in_words(Finding({**arrays, "H_D": 0.8751, "H_D_error": 0.012}, {"probes": 40}))
    assert clear.endswith("H_D 0.8751 ± 0.012")


def test_a_table_leaves_out_a_cosine_that_noise_hides(run):
    findings = Findings.open(run)
    findings.begin("exact", {"protocol": "exact"})
    arrays = {"H_N": 3.0, "H_N_error": 0.5, "H_D": 1.19, "H_D_error": 0.87}
    findings.add("exact/round_000002/clients/disagreement", Finding(arrays, {"probes": 40}))
    assert scalars(findings) == {"H_N": 3.0}
    [found] = disagreements(findings)
    assert found.is_lost
