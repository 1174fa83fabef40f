"""Run: a run opens from any place, without locks or writes; all else is refused in one line."""

import fcntl
import os
import shutil

import h5py
import numpy as np
import pytest
from damage import cut, overwrite
from hdf5_editing import with_attributes

from mpifl.options import BadInput
from mpifl.store import Run, pack


def test_partition_layout_and_provenance_come_back(run):
    read = Run.open(run)
    assert read.indices.tolist() == list(range(8))[::-1] and read.offsets.tolist() == [
        0,
        1,
        3,
        3,
        8,
    ]
    assert [read.part(client).tolist() for client in range(4)] == [[7], [6, 5], [], [4, 3, 2, 1, 0]]
    assert read.label_counts.tolist() == np.arange(12).reshape(4, 3).tolist()
    assert read.layout == [
        ("layer.weight", "parameter", (3, 3), 0, 9),
        ("scale", "parameter", (), 9, 1),
        ("norm.mean", "buffer", (2,), 0, 2),
    ]
    assert read.provenance == {"hosts": ["n1", "n1", "n2"], "ranks": 3, "mpi": "an MPI"}


def test_the_folder_its_results_and_a_link_to_them_are_the_same_run(run, tmp_path, monkeypatch):
    (tmp_path / "link.h5").symlink_to(run / "results.h5")
    monkeypatch.chdir(run)
    for path in (run, run / "results.h5", str(run), tmp_path / "link.h5", ".", "results.h5"):
        assert (Run.open(path).weights(2)[0] == 2).all()
    assert Run.open(run / "results.h5").path == run


def test_a_moved_and_copied_folder_finds_its_weights(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    run.rename(tmp_path / "moved")
    for place in ("copy", "moved"):
        read = Run.open(tmp_path / place)
        assert (read.weights()[0] == 4).all() and (read.client_weights(2)[1] == 2.5).all()


def test_reading_neither_locks_nor_writes(run):
    before = {p: p.stat().st_mtime_ns for p in [run, *run.rglob("*")]}
    held = [os.open(path, os.O_RDONLY) for path in before if path.suffix == ".h5"]
    for descriptor in held:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert (Run.open(run).weights()[0] == 4).all()
    assert {p: p.stat().st_mtime_ns for p in [run, *run.rglob("*")]} == before
    for descriptor in held:
        os.close(descriptor)


def test_weights_of_another_run_in_the_working_directory_are_not_taken_for_missing_ones(
    run, tmp_path, create, add_round, monkeypatch
):
    other = create(tmp_path / "other")
    add_round(other, 4, save=True)
    shutil.rmtree(run / "models")
    monkeypatch.chdir(tmp_path / "other")
    for read in (lambda: Run.open(run).weights(4), lambda: pack(run, tmp_path / "out.h5")):
        with pytest.raises(BadInput):
            read()


def test_a_run_replaced_after_it_was_opened_is_noticed(run, create, add_round):
    read = Run.open(run)
    add_round(create(run, force=True), 4, save=True)
    with pytest.raises(BadInput, match="taken its place"):
        read.weights(4)


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (lambda run: run.weights(3), r"saved rounds \[2, 4\]; got 3"),
        (lambda run: run.client_weights(5), r"saved rounds \[2, 4\]; got 5"),
    ],
)
def test_a_round_that_is_not_saved_is_refused(run, ask, what):
    with pytest.raises(BadInput, match=what):
        ask(Run.open(run))


def test_a_run_without_weights_says_so(tmp_path, create):
    store = create(tmp_path / "run")
    with pytest.raises(BadInput, match="none saved"):
        Run.open(tmp_path / "run").weights()
    store.weights(1, np.zeros(10, "f4"))
    store.commit()
    with pytest.raises(BadInput, match="one without"):
        Run.open(tmp_path / "run").client_weights(1)


def plain(path):
    with h5py.File(path, "w") as file:
        file.attrs.update(format="mpifl-run", format_version=1)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "No such file"),
        (lambda path: path.write_text(""), "an empty file"),
        (lambda path: path.write_text("some notes\n"), "something else"),
        (lambda path: overwrite(path, b"\x89HDF\r\n\x1a\n" + b"\0" * 100), "cut short"),
        (plain, "edited or opened for writing by another program"),
        (with_attributes, "another kind"),
        (lambda path: with_attributes(path, format="emcee"), "another kind"),
        (
            lambda path: with_attributes(
                path, format="mpifl-run", format_version=2, softwareVersion="9"
            ),
            "update mpifl",
        ),
        (lambda path: with_attributes(path, format="mpifl-run"), "another layout"),
        (
            lambda path: with_attributes(path, format="mpifl-run", format_version=1),
            "another layout",
        ),
    ],
    ids=[
        "missing",
        "folder",
        "empty",
        "text",
        "signature",
        "plain",
        "hdf5",
        "foreign",
        "newer",
        "headless",
        "hollow",
    ],
)
def test_what_is_no_run_is_refused_in_one_line(tmp_path, make, what):
    make(tmp_path / "x")
    with pytest.raises(BadInput, match=what) as caught:
        Run.open(tmp_path / "x")
    assert str(tmp_path / "x") in str(caught.value) and "\n" not in str(caught.value)


def test_the_weights_of_one_round_are_not_a_run(run):
    with pytest.raises(BadInput, match="give the run's folder"):
        Run.open(run / "models" / "round_000002.h5")


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.9, 0.9999])
def test_truncated_files_are_refused(run, part):
    for file in (run / "models" / "round_000004.h5", run / "results.h5"):
        cut(file, int(file.stat().st_size * part))
        with pytest.raises(BadInput):
            Run.open(run).weights()


def test_every_array_of_the_results_hangs_on_dimension_scales_of_its_group(run, tmp_path):
    pack(run, tmp_path / "packed.h5")
    for path in (run / "results.h5", tmp_path / "packed.h5"):
        with h5py.File(path) as file:
            checked = 0
            for name in ("rounds", "clients", "partition", "layout"):
                for dataset in (d for d in file[name].values() if not d.is_scale):
                    assert all(len(d) == 1 and d[0].parent == file[name] for d in dataset.dims)
                    assert tuple(len(d[0]) for d in dataset.dims) == dataset.shape
                    checked += dataset.ndim
                    assert dataset.attrs["long_name"] and ("units" in dataset.attrs) != (
                        dataset.dtype == object
                    )
            assert checked > 15
            dimensions = [dimension[0].name for dimension in file["clients/loss"].dims]
            assert dimensions in (["/clients/round", "/clients/client"], ["/clients/participation"])
            assert file["rounds/round"].is_scale
            assert file["rounds/seconds_train"].attrs["units"] == "s"


def test_linked_arrays_have_named_dimensions_but_no_scales(run):
    with h5py.File(run / "results.h5") as file:
        group = file["models/round_000004"]
        assert all(isinstance(group.get(name, getlink=True), h5py.ExternalLink) for name in group)
        assert [d.label for d in group["clients"].dims] == ["client", "weight"]
        assert all(len(d) == 0 for array in group.values() for d in array.dims)


def test_a_model_file_explains_itself(run):
    with h5py.File(run / "models" / "round_000002.h5") as file:
        assert file.attrs["run_id"] == Run.open(run).run_id and file.attrs["round"] == 2
        layout = file["layout"]
        row = layout["name"].asstr()[...].tolist().index("layer.weight")
        size, offset, ndim = (int(layout[name][row]) for name in ("size", "offset", "ndim"))
        tensor = file["global"][offset : offset + size].reshape(layout["shape"][row, :ndim])
        assert (
            tensor.shape == (3, 3)
            and file["global"].chunks is None
            and file["global"].dtype == "<f4"
        )
