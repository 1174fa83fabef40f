"""`mpifl show RUN RUN ...`, and runs among other files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import mpifl
from mpifl.analysis.runs.listing import ago


@pytest.fixture
def among_others(folder, tmp_path) -> Path:
    """A folder of two runs, a picture, an empty folder and a folder of notes."""
    for name in ("avg-1", "man-1"):
        shutil.copytree(folder / name, tmp_path / "runs" / name)
    (tmp_path / "runs" / "curves.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "runs" / "empty").mkdir()
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "notes" / "notes.txt").touch()
    return tmp_path / "runs"


def entries(folder: Path) -> list[str]:
    """What a shell makes of runs/*."""
    return sorted(f"runs/{path.name}" for path in folder.iterdir())


PASSED_OVER = "passed over, no run is there: runs/curves.pdf, runs/empty, runs/notes\n"


def test_several_runs_are_shown_in_a_line_each(command, among_others):
    code, text, heard = command("show", *entries(among_others))
    assert code == 0
    assert heard == PASSED_OVER
    lines = text.splitlines()
    assert lines[0] == "2 runs"
    for name in ("runs/avg-1", "runs/man-1"):
        [line] = [line for line in lines if name in line]
        assert "small" in line and "complete" in line and "4 of 4" in line
        assert line.count(" %") == 2
        assert " ago" in line


def test_a_folder_of_runs_is_refused_with_the_command_that_lists_them(command, among_others):
    for path in ("runs", "runs/"):
        code, _, heard = command("show", path)
        assert code == 2
        assert heard.endswith("got a folder of runs; to list them: mpifl show runs/*\n")


def test_a_table_passes_over_what_is_no_run_and_says_so(command, among_others):
    code, text, heard = command("table", *entries(among_others))
    assert code == 0
    assert PASSED_OVER in heard
    assert text.count("\n| ce") == 2


class Fail(mpifl.Callback):
    def round_finished(self, progress: mpifl.Progress, last: bool) -> None:
        raise InterruptedError


def test_a_table_and_curves_pass_over_runs_that_have_no_test_yet(command, folder, tmp_path):
    with pytest.raises(InterruptedError):
        mpifl.run(
            folder / "avg-1",
            out=tmp_path / "young",
            overrides=["seed=9", "evaluation.every=4"],
            callbacks=[Fail()],
            quiet=True,
        )
    young = str(tmp_path / "young")
    for words in (["table"], ["curves", "-o", "c.csv"]):
        code, _, heard = command(*words, young, "avg-1")
        assert code == 0, heard
        assert f"passed over, not tested yet: {young}\n" in heard
        code, _, heard = command(*words, young)
        assert code == 2
        assert heard.endswith(f"expected one that has been tested; got none yet in {young}\n")
    assert command("curves", young, "--y", "training_loss", "-o", "c.csv")[0] == 0


def test_a_damaged_run_is_listed_as_not_readable_and_refused_by_a_table(command, among_others):
    results = among_others / "avg-1" / "results.h5"
    content = results.read_bytes()
    results.unlink()
    results.write_bytes(content[: len(content) // 2])
    code, text, heard = command("show", *entries(among_others))
    assert code == 0
    assert "runs/avg-1" in text and "not readable" in text
    assert "mpifl: runs/avg-1/results.h5: " in heard
    code, _, heard = command("table", *entries(among_others))
    assert code == 2
    assert "mpifl: runs/avg-1/results.h5: " in heard


def test_what_is_not_there_is_refused(command, among_others):
    code, _, heard = command("table", "runs/avg-1", "runs/nowhere")
    assert code == 2
    assert heard.startswith("mpifl: runs/nowhere: expected a run's folder")


def test_no_run_among_other_files_is_refused(command, among_others):
    for name in ("show", "table"):
        code, _, heard = command(name, "runs/empty", "runs/notes")
        assert code == 2
        assert "mpifl: runs: expected at least one run" in heard


def test_an_option_that_is_unknown_to_a_table_is_suggested_with_its_section(command):
    code, _, heard = command("table", "avg-1", "man-1", "--by", "lr")
    assert code == 2
    assert "; did you mean local.lr? allowed: " in heard


def test_status_is_for_one_run(command):
    code, _, heard = command("show", "avg-1", "man-1", "--status")
    assert code == 2
    assert (
        heard
        == "mpifl: command line: expected one run with --config, --status or --plugin-text; got 2\n"
    )


def test_an_age_is_told_in_its_largest_unit():
    assert [ago(seconds) for seconds in (-1, 59, 61, 7200, 86400 * 3)] == [
        "0 s",
        "59 s",
        "1 min",
        "2 h",
        "3 d",
    ]
