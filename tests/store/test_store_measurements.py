"""Findings: written whole, read again, refused for another run, and removed with their run."""

import errno
import multiprocessing
import os
import resource
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import overwrite

from mpifl.options import BadInput
from mpifl.store import Entry, Run, Store, pack
from mpifl.store.measurements import Finding, Findings

SETTINGS = {"protocol": "exact", "seed": 0, "tolerance": 0.03}
PATH = "exact/round_000002/global"


def create(folder, force=False) -> Run:
    """A run of two rounds."""
    store = Store.create(
        folder,
        config='name = "x"\n',
        seed=1,
        layout=[Entry("w", "parameter", (3,), 0, 3)],
        clients=1,
        partition=(np.arange(4), np.array([0, 4]), np.array([[4]])),
        provenance={},
        force=force,
    )
    for round in (1, 2):
        store.append(round, {"test_accuracy": 0.5}, {}, [0])
        store.weights(round, np.zeros(3, "f4"))
    store.close()
    return Run.open(folder)


@pytest.fixture
def run(tmp_path) -> Run:
    return create(tmp_path / "run")


def finding(value: float) -> Finding:
    arrays = {
        "values": np.array([value, 1.0]),
        "trace": value,
        "layer": ["a", "b"],
        "cosines": np.eye(2),
    }
    return Finding(arrays, {"products": 3, "weights_sha256": "ab"})


def test_what_was_added_is_read_again(run):
    findings = Findings.open(run)
    assert findings.found == {}
    findings.begin("exact", SETTINGS)
    assert not findings.file.exists()
    findings.add(f"{PATH}/eigenvalues", finding(2.5))
    again = Findings.open(run.path)
    assert again.settings == {"exact": SETTINGS}
    [(quantity, found)] = again.under(PATH).items()
    assert quantity == "eigenvalues"
    assert found.facts == {"products": 3, "weights_sha256": "ab"}
    assert (found["values"].tolist(), float(found["trace"]), found["layer"].tolist()) == (
        [2.5, 1],
        2.5,
        ["a", "b"],
    )


def test_h5py_alone_reads_it(run):
    findings = Findings.open(run)
    findings.begin("exact", SETTINGS)
    findings.add(f"{PATH}/eigenvalues", finding(2.5))
    with h5py.File(findings.file) as file:
        assert file.attrs["run_id"] == run.run_id
        assert file["exact"].attrs["tolerance"] == 0.03
        assert file[f"{PATH}/eigenvalues/values"][0] == 2.5


def test_two_who_add_at_a_time_lose_nothing(run):
    one, two = Findings.open(run), Findings.open(run)
    one.begin("exact", SETTINGS)
    two.begin("other", {**SETTINGS, "seed": 1})
    one.add(f"{PATH}/eigenvalues", finding(1))
    two.add("other/round_000002/global/eigenvalues", finding(2))
    one.add(f"{PATH}/diagonal", finding(3))
    found = Findings.open(run)
    assert len(found.found) == 3
    assert set(found.settings) == {"exact", "other"}


def add_many(folder: Path, measurement: str, count: int, all_are_ready) -> None:
    all_are_ready.wait()
    findings = Findings.open(folder)
    findings.begin(measurement, {**SETTINGS, "name": measurement})
    for number in range(count):
        path = f"{measurement}/round_{number:06d}/global"
        findings.add(f"{path}/eigenvalues", finding(number))


@pytest.mark.slow
def test_three_processes_that_add_at_the_same_time_lose_nothing(run):
    context = multiprocessing.get_context("spawn")
    all_are_ready = context.Barrier(3)
    names = ("a", "b", "c")
    processes = []
    for name in names:
        given = (run.path, name, 8, all_are_ready)
        processes.append(context.Process(target=add_many, args=given))
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    found = Findings.open(run)
    assert Counter(path.split("/")[0] for path in found.found) == dict.fromkeys(names, 8)
    found.add("a/round_000099/global/eigenvalues", finding(1))
    assert len(Findings.open(run).found) == 25
    assert [path.name for path in run.path.glob("hessian*")] == ["hessian.h5"]


@pytest.mark.parametrize("moment", ["os.rename", "atomic.write_hdf5", "os.link"])
def test_a_process_killed_while_it_adds_loses_nothing(run, monkeypatch, moment):
    findings = Findings.open(run)
    findings.begin("exact", SETTINGS)
    findings.add(f"{PATH}/eigenvalues", finding(1))

    def killed(*args, **kwargs):
        os._exit(9)

    child = os.fork()
    if child == 0:
        try:
            monkeypatch.setattr(f"mpifl.store.shared_file.{moment}", killed)
            findings.add(f"{PATH}/diagonal", finding(2))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    left = Findings.open(run)
    assert f"{PATH}/eigenvalues" in left.found
    left.add(f"{PATH}/trace", finding(3))
    assert {f"{PATH}/eigenvalues", f"{PATH}/trace"} <= set(Findings.open(run).found)
    assert [path.name for path in run.path.glob("hessian*")] == ["hessian.h5"]


def test_findings_in_parts_left_behind_are_read_and_gathered_into_one_file(run):
    for quantity, part in (("eigenvalues", "0" * 16), ("diagonal", "f" * 16)):
        findings = Findings.open(run)
        findings.add(f"{PATH}/{quantity}", finding(1))
        (run.path / "hessian.h5").rename(run.path / f"hessian.{part}.h5")
    found = Findings.open(run)
    assert set(found.under(PATH)) == {"eigenvalues", "diagonal"}
    found.add(f"{PATH}/trace", finding(1))
    assert [path.name for path in run.path.glob("hessian*")] == ["hessian.h5"]
    assert set(Findings.open(run).under(PATH)) == {"eigenvalues", "diagonal", "trace"}


def test_without_hard_links_findings_are_kept_in_parts(run, monkeypatch):
    def refused(*args):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refused)
    findings = Findings.open(run)
    findings.add(f"{PATH}/eigenvalues", finding(1))
    findings.add(f"{PATH}/diagonal", finding(1))
    assert set(Findings.open(run).under(PATH)) == {"eigenvalues", "diagonal"}


def test_two_processes_that_begin_one_name_with_different_settings_are_not_mixed(run):
    one, two = Findings.open(run), Findings.open(run)
    one.begin("exact", SETTINGS)
    two.begin("exact", {**SETTINGS, "seed": 7})
    one.add(f"{PATH}/eigenvalues", finding(1))
    with pytest.raises(BadInput, match="expected seed = 0, as 'exact' has been measured; got 7"):
        two.add(f"{PATH}/diagonal", finding(2))
    found = Findings.open(run)
    assert found.settings == {"exact": SETTINGS}
    assert list(found.found) == [f"{PATH}/eigenvalues"]


def test_a_measurement_begun_anew_stays_without_its_old_findings_while_another_process_adds(run):
    before = Findings.open(run)
    before.begin("exact", SETTINGS)
    before.add(f"{PATH}/eigenvalues", finding(1))
    anew = Findings.open(run)
    anew.forget("exact")
    anew.begin("exact", SETTINGS)
    before.add("other/round_000002/global/eigenvalues", finding(2))
    anew.add(f"{PATH}/diagonal", finding(3))
    found = Findings.open(run)
    assert set(found.found) == {f"{PATH}/diagonal", "other/round_000002/global/eigenvalues"}


def test_other_settings_under_the_same_name_are_refused_until_it_is_forgotten(run):
    findings = Findings.open(run)
    findings.begin("exact", SETTINGS)
    findings.add(f"{PATH}/eigenvalues", finding(1))
    with pytest.raises(
        BadInput, match="expected seed = 0, as 'exact' has been measured; got 7; allowed"
    ):
        Findings.open(run).begin("exact", {**SETTINGS, "seed": 7})
    findings = Findings.open(run)
    findings.forget("exact")
    findings.begin("exact", {**SETTINGS, "seed": 7})
    findings.add(f"{PATH}/diagonal", finding(1))
    assert list(Findings.open(run).found) == [f"{PATH}/diagonal"]


def test_vectors_are_kept_together_by_model_and_known_by_its_weights(run):
    findings = Findings.open(run)
    findings.add_vectors(f"{PATH}/diagonal", {"diagonal": np.arange(3.0)}, {"weights_sha256": "ab"})
    findings.add_vectors(f"{PATH}/eigen", {"eigenvectors": np.eye(3)}, {"weights_sha256": "ab"})
    assert set(findings.vectors(PATH, "ab")) == {"diagonal", "eigenvectors"}
    assert findings.vectors(PATH, "cd") == {}
    findings.add_vectors(f"{PATH}/diagonal", {"diagonal": np.arange(3.0)}, {"weights_sha256": "cd"})
    assert set(findings.vectors(PATH, "cd")) == {"diagonal"}


def test_vectors_that_version_0_1_0_wrote_in_one_file_for_a_model_are_read(run):
    findings = Findings.open(run)
    findings.add_vectors(PATH, {"diagonal": np.arange(3.0)}, {"weights_sha256": "ab"})
    assert findings.has_vectors(f"{PATH}/diagonal")
    assert set(findings.vectors(PATH, "ab")) == {"diagonal"}


def test_another_runs_findings_are_refused(run, tmp_path):
    findings = Findings.open(run)
    findings.add(f"{PATH}/eigenvalues", finding(1))
    other = create(tmp_path / "other")
    os.replace(findings.file, other.path / "hessian.h5")
    with pytest.raises(BadInput, match="got another run's; move them away"):
        Findings.open(other)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + bytes(600), b"text"])
def test_a_damaged_file_is_refused_in_one_line(run, content):
    overwrite(run.path / "hessian.h5", content)
    with pytest.raises(BadInput, match="damaged|cut short") as refused:
        Findings.open(run)
    assert "\n" not in str(refused.value)


@contextmanager
def no_room(size: int):
    """Files may not grow beyond `size` bytes: a write beyond is refused, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_and_what_was_found_is_kept(run):
    findings = Findings.open(run)
    findings.begin("exact", SETTINGS)
    findings.add(f"{PATH}/eigenvalues", finding(1))
    with no_room(1000), pytest.raises(BadInput, match="earlier findings are kept"):
        findings.add(f"{PATH}/diagonal", finding(2))
    assert list(Findings.open(run).found) == [f"{PATH}/eigenvalues"]
    assert not list(run.path.glob(".*tmp"))


def test_a_packed_run_has_its_findings_beside_it(run, tmp_path):
    packed = Run.open(pack(run.path, tmp_path / "sent.h5"))
    findings = Findings.open(packed)
    findings.add(f"{PATH}/eigenvalues", finding(1))
    findings.add_vectors(f"{PATH}/diagonal", {"diagonal": np.arange(3.0)}, {"weights_sha256": "ab"})
    assert (tmp_path / "sent.hessian.h5").exists()
    assert findings.vectors(PATH, "ab")
    assert Findings.open(tmp_path / "sent.h5").found.keys() == findings.found.keys()


def test_a_run_that_takes_the_folder_over_takes_the_findings_away(run):
    findings = Findings.open(run)
    findings.add(f"{PATH}/eigenvalues", finding(1))
    findings.add_vectors(f"{PATH}/diagonal", {"diagonal": np.arange(3.0)}, {"weights_sha256": "ab"})
    create(run.path, force=True)
    assert Findings.open(run.path).found == {}
    assert not (run.path / "hessian").exists()


def test_nothing_is_added_to_a_run_that_has_taken_the_place_of_the_measured_one(run):
    findings = Findings.open(run)
    create(run.path, force=True)
    with pytest.raises(BadInput, match="got another that has taken its place"):
        findings.add(f"{PATH}/eigenvalues", finding(1))
    assert not list(run.path.glob("hessian*"))
