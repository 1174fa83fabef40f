"""What each rank spent its time on is stored by round, also where a resumed run has other ranks."""

import h5py
import numpy as np

from mpifl.store import Run, Store
from mpifl.store.timeline import NAMES, TimelineTable


def seconds(round, ranks):
    return {name: np.full(ranks, round + place, "f4") for place, name in enumerate(NAMES)}


def append(store, round, ranks):
    store.append(round, {}, {"loss": [round]}, [0], {}, seconds(round, ranks) if ranks else {})


def test_it_is_resumed_with_more_or_fewer_ranks(tmp_path, create):
    store = create(tmp_path / "run")
    assert dict(Run.open(store.folder).timeline) == {}
    for round, ranks in ((1, 0), (2, 2), (3, 2)):  # round 1 as of a version that stored none
        append(store, round, ranks)
    store.close("stopped")
    run = Run.open(store.folder)
    store = Store.resume(
        store.folder,
        config=run.config,
        layout=run.layout,
        partition=(run.indices, run.offsets, run.label_counts),
        round=2,
        provenance={"ranks": 3},
    )
    append(store, 3, 3)
    store.close()
    timeline = Run.open(store.folder).timeline
    assert timeline["round"].tolist() == [2, 3]
    np.testing.assert_array_equal(timeline["test"], [[3, 3, np.nan], [4, 4, 4]])
    with h5py.File(store.folder / "results.h5") as file:
        wait = file["timeline/wait"]
        assert wait.dtype == "f4" and wait.attrs["units"] == "s"
        assert [scale[0].name for scale in wait.dims] == ["/timeline/round", "/timeline/rank"]


def test_arrays_come_back_as_they_were():
    table = TimelineTable()
    for round in (1, 4):
        table.append(round, seconds(round, 3))
    again = TimelineTable(table.arrays())
    for name, array in table.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    older = table.arrays()
    del older["communicate"]
    resumed = TimelineTable(older)
    resumed.append(5, seconds(5, 3))
    assert np.isnan(resumed.arrays()["communicate"][:2]).all()
    assert resumed.arrays()["communicate"][2].tolist() == [8.0] * 3
    np.testing.assert_array_equal(resumed.arrays()["write"][:2], table.arrays()["write"])
    assert again.up_to(3).arrays()["round"].tolist() == [1]
    assert again.up_to(0).arrays() == {}
