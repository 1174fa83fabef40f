"""Trackers are told of each round, go on after a resume, and cannot end a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tiny import RUN

import mpifl
from mpifl.analysis import group
from mpifl.options import options
from mpifl.runner import differences, event_file, schema
from mpifl.runner.trackers import TRACKERS, RowTracker, Tracker

ROWS: list[tuple[str, object]] = []
"""what the trackers of a test were told"""


class Notes(RowTracker):
    """Notes what it is told."""

    def run_started(self, run: mpifl.RunUnderway) -> None:
        super().run_started(run)
        ROWS.append(("started", (run.name, run.run_id, run.round)))

    def log(self, round: int, values: Mapping[str, float]) -> None:
        ROWS.append(("round", (round, dict(values))))

    def run_ended(self, status: str) -> None:
        ROWS.append(("ended", status))


@options
class Noting(Tracker):
    """A tracker for tests."""

    fails: str = ""
    """the function that raises"""

    def callback(self) -> Notes:
        made = Notes()
        if self.fails:

            def fail(*arguments: object) -> None:
                ROWS.append(("failed", self.fails))
                raise ValueError("no\nspace")

            setattr(made, self.fails, fail)
        return made


@pytest.fixture(autouse=True)
def noting(monkeypatch) -> None:
    """The tracker "noting" has a name."""
    monkeypatch.setitem(TRACKERS, "noting", Noting)
    ROWS.clear()


def told(kind: str) -> list[object]:
    return [what for told_kind, what in ROWS if told_kind == kind]


def test_a_tracker_is_told_the_row_of_each_round_and_the_training_means(tmp_path):
    run = mpifl.run({**RUN, "callbacks": ["noting"]}, out=tmp_path / "run", quiet=True)
    assert told("started") == [("run", run.run_id, 0)]
    assert told("ended") == ["complete"]
    assert [round for round, _ in told("round")] == [1, 2]
    for place, (_, values) in enumerate(told("round")):
        numbers = [name for name in run.rounds if name not in ("round", "sha256")]
        assert values.keys() == {*numbers, "training_loss", "training_accuracy"}
        assert all(values[name] == run.rounds[name][place] for name in numbers)
        weights = run.clients["weight"][place]
        losses = run.clients["loss"][place]
        known = weights > 0
        mean = float(weights[known] @ losses[known])
        assert values["training_loss"] == pytest.approx(mean, rel=1e-6)


def test_a_tracker_is_given_by_name_or_as_an_object_to_a_python_call(tmp_path):
    mpifl.run(RUN, out=tmp_path / "a", callbacks=["noting"], quiet=True)
    mpifl.run(RUN, out=tmp_path / "b", callbacks=[Noting()], quiet=True)
    assert told("ended") == ["complete", "complete"]
    with pytest.raises(mpifl.BadInput, match="callbacks: expected .*got 'notin'; allowed: tens"):
        mpifl.run(RUN, out=tmp_path / "c", callbacks=["notin"])
    with pytest.raises(mpifl.BadInput, match="expected each tracker once; got Noting twice"):
        mpifl.run({**RUN, "callbacks": ["noting", "noting"]}, out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_same_tracker_run_with_other_trackers_or_none(tmp_path):
    folder = tmp_path / "run"
    mpifl.run({**RUN, "rounds": 1, "callbacks": ["noting"]}, out=folder, quiet=True)
    run = mpifl.run(
        {**RUN, "callbacks": [{"name": "noting", "fails": ""}]},
        out=folder,
        resume=True,
        quiet=True,
    )
    assert told("started") == [("run", run.run_id, 0), ("run", run.run_id, 1)]
    assert [round for round, _ in told("round")] == [1, 2]
    assert mpifl.run({**RUN, "rounds": 3}, out=folder, resume=True, quiet=True).status == "complete"


@pytest.mark.parametrize("fails", ["run_started", "round_finished", "run_ended"])
def test_a_tracker_that_fails_is_left_out_with_one_warning(tmp_path, capsys, fails):
    config = {**RUN, "callbacks": [{"name": "noting", "fails": fails}]}
    run = mpifl.run(config, out=tmp_path / "run", quiet=True)
    assert run.status == "complete" and len(run.rounds["round"]) == 2
    assert told("failed") == [fails]
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert warnings[0].startswith(
        "warning: the tracker Noting has failed and is left out from now on: ValueError: no space;"
    )


@pytest.mark.slow
def test_trackers_change_neither_the_bits_of_a_run_nor_its_method(tmp_path):
    plain = mpifl.run(RUN, out=tmp_path / "a", quiet=True)
    tracked = mpifl.run({**RUN, "callbacks": ["noting"]}, out=tmp_path / "b", quiet=True)
    assert tracked.rounds["sha256"].tolist() == plain.rounds["sha256"].tolist()
    seeded = {**RUN, "seed": 6, "callbacks": ["noting"]}
    other = mpifl.run(seeded, out=tmp_path / "c", quiet=True)
    assert len(group([plain, other])) == 1


def test_a_config_in_short_names_trackers_and_the_options_that_differ():
    config = schema.resolve({"callbacks": ["noting", {"name": "wandb", "project": "mine"}]})
    named = ["noting", {"name": "wandb", "project": "mine"}]
    assert differences.short(config)["callbacks"] == named


def test_a_callback_is_told_of_a_failed_run(tmp_path):
    class Stops(mpifl.Callback):
        def round_finished(self, progress, last) -> None:
            raise RuntimeError("my own mistake")

    with pytest.raises(RuntimeError, match="my own mistake"):
        mpifl.run(RUN, out=tmp_path / "run", callbacks=["noting", Stops()], quiet=True)
    assert told("ended") == ["failed"]


PLUGIN = """
import mpifl
from mpifl.analysis import group
from mpifl.options import options

class Lines(mpifl.RowTracker):
    def __init__(self, path):
        self.path = path
    def log(self, round, values):
        with open(self.path, "a") as file:
            print(round, values["test_accuracy"], file=file)

@mpifl.register("lines")
@options
class ToLines(mpifl.Tracker):
    '''A line a round.'''
    path: str
    def callback(self):
        return Lines(self.path)
"""


def test_a_plugin_registers_a_tracker_of_its_own(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    callbacks = [{"name": "lines", "path": str(tmp_path / "lines.txt")}]
    config = {**RUN, "plugins": [str(tmp_path / "mine.py")], "callbacks": callbacks}
    run = mpifl.run(config, out=tmp_path / "run", quiet=True)
    lines = (tmp_path / "lines.txt").read_text().splitlines()
    accuracies = run.rounds["test_accuracy"].tolist()
    assert lines == [f"{round} {value}" for round, value in enumerate(accuracies, 1)]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_library_is_told_before_anything_is_made(monkeypatch, tmp_path, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(mpifl.BadInput, match=rf"got none; `pip install 'mpifl\[{name}\]'`$"):
        mpifl.run({**RUN, "callbacks": [name]}, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def scalars(folder: Path, name: str) -> dict[int, float]:
    """What TensorBoard's own reader finds: step -> value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder)).Reload()
    return {event.step: event.value for event in read.Scalars(name)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_a_run_and_its_resume_as_one(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    folder = tmp_path / "run"
    config = {**RUN, "callbacks": ["tensorboard"]}
    mpifl.run({**config, "rounds": 1}, out=folder, quiet=True)
    run = mpifl.run({**config, "rounds": 3}, out=folder, resume=True, quiet=True)
    losses = run.rounds["test_loss"]
    found = scalars(folder / "tensorboard", "test_loss")
    assert list(found) == [1, 2, 3]
    assert list(found.values()) == pytest.approx(losses, rel=1e-6)
    again = mpifl.run({**config, "seed": 6}, out=folder, force=True, quiet=True)
    found = scalars(folder / "tensorboard", "test_loss")
    assert list(found.values()) == pytest.approx(again.rounds["test_loss"], rel=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_files_in_the_order_in_which_they_were_made_whatever_the_clock_says(
    tmp_path, monkeypatch
):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    for made in range(12):
        monkeypatch.setattr(event_file.time, "time", lambda at=1000 - made // 2: at)
        events = event_file.EventFile(tmp_path, first_round=made)
        for round in (made, made + 1):  # the next file begins with this one's second round
            events.scalars(round, {"loss": 100 * made + round})
        events.close()
    assert scalars(tmp_path, "loss") == {**{n: 101 * n for n in range(12)}, 12: 1112}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_weights_and_biases_writes_offline_files_with_the_id_of_the_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    folder = tmp_path / "run"
    config = {**RUN, "callbacks": ["wandb"]}
    mpifl.run({**config, "rounds": 1}, out=folder, quiet=True)
    run = mpifl.run({**config, "rounds": 2}, out=folder, resume=True, quiet=True)
    assert run.status == "complete"
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    assert [file.name for file in files] == [f"run-{run.run_id}.wandb"] * 2
    assert all(b"test_accuracy" in file.read_bytes() for file in files)
