"""Curvature of a real run's models: right by dense Hessians, resumable, and refusing what it cannot
measure.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from analysis.small import make
from store.test_store_measurements import no_room

from mpifl.analysis.hessian.measurement import Measurement
from mpifl.analysis.hessian.metrics import AVERAGE, GLOBAL, disagreements, metrics, scalars
from mpifl.analysis.hessian.noise import probes_needed
from mpifl.analysis.hessian.protocols import Exact, FedAlign
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.models.stored import select_rounds
from mpifl.curvature import Curvature, Fixed, dense
from mpifl.options import BadInput
from mpifl.parallel.communicator import Communicator
from mpifl.store import Run
from mpifl.store.measurements import Findings

COMMUNICATOR = Communicator()


def on_ranks(run: Run, **options) -> RunOnRanks:
    return RunOnRanks(run, COMMUNICATOR, **options)


def measured(
    run: Run, protocol=None, clients: bool = True, quantities=(), **options
) -> Measurement:
    """A measurement that is done."""
    precise = on_ranks(run, precision="float64")
    measurement = Measurement(
        precise, protocol or Exact(samples=0, top=3, tolerance=1e-9), **options
    )
    models = precise.models([2], clients)
    measurement.measure(measurement.tasks(models, quantities))
    measurement.compare(models)
    return measurement


def hessian(run: Run, client: int | None) -> torch.Tensor:
    """The dense Hessian of a model of round 2 on all training samples, or the client's own."""
    precise = on_ranks(run, precision="float64")
    model = next(s for s in precise.models([2], clients=True) if s.client == client)
    indices = np.arange(90) if client is None else precise.run.part(client)
    objective = precise.objective(model, Fixed(precise.samples("train"), indices, 100))
    return dense(Curvature(objective, precise.vector(model.weights)))


def test_every_number_is_that_of_the_dense_hessians(run):
    measurement = measured(run, quantities=["eigenvalues", "diagonal"])
    rows = {row.client: row for row in metrics(measurement.findings)}
    assert list(rows) == [GLOBAL, 0, 1, 2]
    diagonals = []
    for client, row in rows.items():
        H = hessian(run, None if client == GLOBAL else client)
        values = torch.linalg.eigvalsh(H)
        assert (row.lambda_max, row.lambda_min) == pytest.approx(
            (values[-1].item(), values[0].item()), rel=1e-6
        )
        assert abs(row.H_T - H.trace()) < 4 * row.H_T_error + 1e-9
        diagonals.append(H.diagonal())
    [found] = disagreements(measurement.findings)
    pairs = [(a, b) for a in diagonals[1:] for b in diagonals[1:] if a is not b]
    assert (
        abs(found.H_N - np.mean([(a.norm() - b.norm()) ** 2 for a, b in pairs]))
        < 3 * found.H_N_error
    )
    assert (
        abs(found.H_D - np.mean([a @ b / a.norm() / b.norm() for a, b in pairs]))
        < 3 * found.H_D_error
    )
    assert set(scalars(measurement.findings)) == {"lambda_max", "H_T", "H_N", "H_D"}


@pytest.mark.slow
def test_the_average_of_the_servers_models_is_measured_beside_the_global_one(command, tmp_path):
    folder = tmp_path / "averaged"
    make(folder, 'evaluation.models=["average"]', "evaluation.average={name='ema', decay=0.5}")
    arguments = ("--samples", "0", "--quantities", "eigenvalues", "--precision", "float64")
    code, said, _ = command("hessian", str(folder), "--average", *arguments)
    run = Run.open(folder)
    rows = metrics(Findings.open(run))
    assert [row.client for row in rows] == [GLOBAL, AVERAGE]
    precise = on_ranks(run, precision="float64")
    model = precise.models([2], average=True)[1]
    assert model.weights.tolist() == run.average(2).tolist() != run.weights(2)[0].tolist()
    objective = precise.objective(model, Fixed(precise.samples("train"), np.arange(90), 100))
    H = dense(Curvature(objective, precise.vector(model.weights)))
    assert rows[1].lambda_max == pytest.approx(torch.linalg.eigvalsh(H)[-1].item(), rel=1e-3)
    assert (code, "round 2 average" in said) == (0, True)


@pytest.mark.slow
def test_all_quantities_agree_with_each_other(run):
    found = measured(run, clients=False).findings.under("exact/round_000002/global")
    values = torch.linalg.eigvalsh(hessian(run, None)).numpy()
    assert set(found) == {
        "objective", "eigenvalues", "diagonal", "sharpness", "spectrum", "layers", "gauss_newton"
    }  # fmt: skip
    assert found["spectrum"]["nodes"].max() <= values[-1] + 1e-6
    assert found["layers"]["value"].max() <= values[-1] + 1e-6
    assert found["layers"]["layer"].tolist() == found["diagonal"]["layer"].tolist()
    assert float(found["diagonal"]["layer_trace"].sum()) == pytest.approx(
        float(found["diagonal"]["trace"])
    )
    assert float(found["gauss_newton"]["value"]) > 0 < float(found["sharpness"]["value"])
    for finding in found.values():
        assert {"weights_sha256", "indices_sha256", "samples", "products", "seconds"} <= set(
            finding.facts
        )


def numbers(findings: Findings) -> dict:
    """All arrays by path, the measurement's name left out."""
    return {
        f"{path.partition('/')[2]}/{name}": array
        for path, finding in findings.found.items()
        for name, array in finding.arrays.items()
    }


@pytest.mark.slow
def test_broken_off_and_started_again_it_ends_in_the_same_bits(run):
    whole = numbers(measured(run, clients=True, name="whole").findings)
    first = Measurement(
        on_ranks(run, precision="float64"), Exact(samples=0, top=3, tolerance=1e-9), "parts"
    )
    first.measure(first.tasks(first.on_ranks.models([2], clients=True))[:4])
    kept = {
        path: finding for path, finding in first.findings.found.items() if path.startswith("parts")
    }
    last = measured(run, clients=True, name="parts")
    for path, finding in kept.items():
        assert last.findings.found[path].facts == finding.facts  # not done again
    parts = numbers(last.findings)
    assert parts.keys() == whole.keys()
    assert [name for name, array in whole.items() if not np.array_equal(array, parts[name])] == []


def test_the_released_protocol_counts_all_pairs_of_traces_by_tensor(run):
    measurement = measured(run, FedAlign(most=5))
    traces = [
        measurement.findings.found[f"fedalign/round_000002/client_00000{c}/trace"] for c in range(3)
    ]
    vectors = [trace["tensor_trace"] for trace in traces]
    assert traces[0]["tensor"].tolist()[:2] == ["dense.0.layer.weight", "dense.0.layer.bias"]
    [found] = disagreements(measurement.findings, "fedalign")
    norms = [np.linalg.norm(vector) for vector in vectors]
    assert np.mean([(a - b) ** 2 for a in norms for b in norms]) == pytest.approx(found.H_N)
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in vectors for b in vectors]
    assert np.mean(cosines) == pytest.approx(found.H_D)


def test_the_runs_own_files_stay_as_they_are(run):
    def digests() -> dict[Path, str]:
        files = [
            f
            for f in run.path.rglob("*")
            if f.is_file() and "hessian" not in str(f.relative_to(run.path))
        ]
        return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    before = digests()
    measured(run, quantities=["eigenvalues"])
    assert digests() == before


def test_samples_are_chosen_by_class_and_the_same_for_all_who_share_them(run):
    labels = np.repeat(np.arange(4), 50)
    some = Exact(samples=40)
    chosen = some.sample_indices(labels, None, ())
    assert np.bincount(labels[chosen]).tolist() == [10] * 4
    assert np.array_equal(
        chosen, Exact(samples=40, data="global").sample_indices(labels, np.arange(90), (3,))
    )
    own = some.sample_indices(labels, np.arange(60, 150), (3,))
    assert set(own) <= set(range(60, 150)) and len(own) == 40
    assert not np.array_equal(chosen, Exact(samples=40, seed=1).sample_indices(labels, None, ()))


@pytest.mark.slow
def test_more_eigenvalues_than_there_are_come_out_as_all_but_the_smallest(run):
    found = measured(
        run, Exact(samples=0, top=10_000), clients=False, quantities=["eigenvalues"]
    ).findings
    finding = found.under("exact/round_000002/global")["eigenvalues"]
    values = np.append(finding["values"], finding["smallest"])
    assert values == pytest.approx(
        torch.linalg.eigvalsh(hessian(run, None)).numpy()[::-1], abs=1e-9
    )


def test_of_all_rounds_those_without_clients_count_for_the_global_model_alone(run):
    rounds = select_rounds(run, "all", clients=True)
    found = [(model.round, model.client) for model in on_ranks(run).models(rounds, clients=True)]
    assert found == [(1, None), (2, None), (2, 0), (2, 1), (2, 2)]


def test_the_cost_is_said_in_advance(run):
    measurement = Measurement(on_ranks(run), Exact(samples=0))
    cost = measurement.cost(measurement.tasks(measurement.on_ranks.models([2])))
    assert cost.products > 100
    assert 0 < cost.seconds < 100
    assert cost.memory.total > 0


def test_a_run_on_other_data_or_still_being_written_is_refused(run):
    lying = Run.open(run.path)
    lying.provenance["data_checksum"] = "0" * 64
    with pytest.raises(BadInput, match="expected the data that it was trained on"):
        on_ranks(lying)
    unfinished = Run.open(run.path)
    unfinished.attrs["status"] = "running"
    with pytest.raises(BadInput, match="still being written, or killed; allowed: wait for it"):
        on_ranks(unfinished)
    assert on_ranks(unfinished, unfinished=True).models([2])


def test_where_a_clients_long_vectors_are_gone_its_diagonal_alone_is_found_again(run):
    whole = measured(run, quantities=["objective", "diagonal"])
    [before] = disagreements(whole.findings)
    whole.findings.vectors_file("exact/round_000002/client_000001/diagonal").unlink()
    measurement = Measurement(whole.on_ranks, whole.protocol)
    models = measurement.on_ranks.models([2], clients=True)
    [task] = measurement.tasks(models, ["objective", "diagonal"])
    assert (task.model.client, task.quantity) == (1, "diagonal")
    measurement.measure([task])
    measurement.compare(models)
    assert disagreements(Findings.open(run)) == [before]


def test_other_settings_need_another_name_or_a_new_start(run):
    measured(run, clients=False, quantities=["objective"])
    with pytest.raises(
        BadInput, match="expected samples = 0, as 'exact' has been measured; got 20"
    ):
        measured(run, Exact(samples=20), clients=False, quantities=["objective"])
    measured(run, Exact(samples=20), clients=False, quantities=["objective"], name="few")
    again = measured(run, Exact(samples=20), clients=False, quantities=["objective"], again=True)
    assert {path.split("/")[0] for path in again.findings.found} == {"exact", "few"}


def test_clients_whose_diagonals_are_lost_in_noise_are_not_compared_and_that_is_said(run):
    noisy = Measurement(
        on_ranks(run, precision="float64"), Exact(samples=9, top=1, probes=2, seed=3), "noisy"
    )
    models = noisy.on_ranks.models([2], clients=True)
    said = {}
    noisy.measure(noisy.tasks(models, ["diagonal"]))
    noisy.compare(models, lambda label, finding: said.update({label: finding.facts.get("problem")}))
    [problem] = said.values()
    assert "expected norms above their errors" in problem and "use more probes" in problem
    assert len(noisy.findings.under("noisy")) == 4


def test_a_full_disk_is_one_line_and_loses_nothing(run):
    measurement = measured(run, clients=False, quantities=["objective"])
    with no_room(2000), pytest.raises(BadInput, match="earlier findings are kept"):
        measurement.measure(measurement.tasks(measurement.on_ranks.models([2]), ["eigenvalues"]))
    assert len(Findings.open(run).found) == 1
    found = measured(run, clients=False, quantities=["eigenvalues"]).findings
    assert set(found.under("exact/round_000002/global")) == {"objective", "eigenvalues"}


def test_so_many_probes_as_it_needs_give_a_cosine_a_useful_error(run):
    few = measured(run, Exact(samples=0, top=1, probes=8), quantities=["diagonal"], name="few")
    [found] = disagreements(few.findings, "few")
    assert found.probes == 8
    needed = probes_needed(found.H_D_error, found.probes)
    assert needed is not None
    options = {"samples": 0, "top": 1, "trace_tolerance": 1e-6, "probes": needed}
    more = measured(run, Exact(**options), quantities=["diagonal"], name="more")
    [found] = disagreements(more.findings, "more")
    assert found.H_D_error < 0.15
    assert not found.is_lost
