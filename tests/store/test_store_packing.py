"""pack: one file that reads like the folder, also without the folder."""

import shutil

import h5py
import numpy as np
import pytest

from mpifl.options import BadInput
from mpifl.store import Run, pack


def assert_same(packed: Run, run: Run, weights: dict) -> None:
    assert (
        packed.attrs == run.attrs
        and packed.provenance == run.provenance
        and packed.layout == run.layout
    )
    assert packed.saved_rounds == run.saved_rounds
    for mine, theirs in ((packed.rounds, run.rounds), (packed.clients, run.clients)):
        assert list(mine) == list(theirs)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])
    np.testing.assert_array_equal(packed.indices, run.indices)
    np.testing.assert_array_equal(packed.offsets, run.offsets)
    for t, arrays in weights.items():
        for mine, theirs in zip(packed.weights(t) + packed.client_weights(t), arrays, strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


def test_a_pack_holds_everything_and_needs_no_folder(run, tmp_path):
    read = Run.open(run)
    weights = {t: read.weights(t) + read.client_weights(t) for t in read.saved_rounds}
    assert pack(run, tmp_path / "one.h5") == tmp_path / "one.h5"
    shutil.rmtree(run)
    assert_same(Run.open(tmp_path / "one.h5"), read, weights)
    pack(tmp_path / "one.h5", tmp_path / "two.h5")
    (tmp_path / "one.h5").unlink()
    assert_same(Run.open(tmp_path / "two.h5"), read, weights)
    assert Run.open(tmp_path / "two.h5").path == tmp_path / "two.h5"


def test_a_pack_keeps_what_arrays_mean_and_no_reserve(run, tmp_path):
    pack(run, tmp_path / "one.h5")
    with h5py.File(tmp_path / "one.h5") as file:
        clients = file["models/round_000002/clients"]
        assert [d.label for d in clients.dims] == [
            "client",
            "weight",
        ] and "long_name" in clients.attrs
    parts = sum(p.stat().st_size for p in run.rglob("*.h5"))
    assert (tmp_path / "one.h5").stat().st_size <= parts


def test_a_run_without_weights_packs(tmp_path, create, add_round):
    store = create(tmp_path / "run")
    add_round(store, 1)
    pack(tmp_path / "run", tmp_path / "one.h5")
    assert Run.open(tmp_path / "one.h5").rounds["bytes_up"].tolist() == [100]


def test_a_pack_replaces_only_by_force_and_never_the_run(run, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    before = (run / "results.h5").read_bytes()
    for out, force in [
        ("mine.txt", False),
        ("run", True),
        ("run/results.h5", True),
        ("missing/one.h5", True),
    ]:
        with pytest.raises(BadInput, match=out):
            pack(run, tmp_path / out, force)
    assert (tmp_path / "mine.txt").read_text() == "mine" and (
        run / "results.h5"
    ).read_bytes() == before
    pack(run, tmp_path / "mine.txt", force=True)
    assert Run.open(tmp_path / "mine.txt").saved_rounds == [2, 4]


def test_missing_weights_are_named_before_anything_is_written(run, tmp_path):
    (run / "models" / "round_000002.h5").unlink()
    with pytest.raises(BadInput, match=r"round_000002\.h5"):
        pack(run, tmp_path / "one.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
