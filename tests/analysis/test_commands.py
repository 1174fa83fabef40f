"""The commands in analysis/: what they write, and how they refuse."""

import csv
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mpifl.cli import main

SCRIPTS = Path(__file__).parents[2] / "analysis"

ALL = ("avg-1", "avg-2", "man-1", "man-2")


def test_table_prints_markdown_and_writes_files(command, tmp_path):
    code, text, heard = command("table", *ALL, "--target", "0.1")
    assert code == 0
    assert text.startswith("| method")
    assert "published" in text
    assert "ce + man" in text
    assert "ce: 2 runs, seeds 1, 2" in heard
    code, text, _ = command("table", *ALL, "-o", "out/t.tex", "-o", "out/t.csv")
    assert code == 0
    assert text == "written to out/t.tex\nwritten to out/t.csv\n"
    with open(tmp_path / "out/t.csv") as file:
        assert [row["runs"] for row in csv.DictReader(file)] == ["2", "2"]
    assert (tmp_path / "out/t.tex").read_text().count(r"\\") == 3


@pytest.mark.slow
def test_curves_writes_a_picture_a_page_and_the_numbers(command, tmp_path):
    options = "--x round,seconds --log loss --published -o c.png -o c.html -o c.csv"
    code, text, _ = command("curves", *ALL, *options.split())
    assert code == 0
    assert text == "written to c.png\nwritten to c.html\nwritten to c.csv\n"
    assert (tmp_path / "c.png").stat().st_size > 20_000
    with open(tmp_path / "c.csv") as file:
        rows = list(csv.DictReader(file))
    quantities, axes, runs, rounds = 2, 2, 4, 4
    assert len(rows) == quantities * axes * runs * rounds
    assert {row["group"] for row in rows} == {"ce", "ce + man"}


@pytest.mark.slow
def test_features_fills_a_folder(command, tmp_path):
    code, text, heard = command(
        "features", "avg-1", "man-1", "--samples", "40", "--on", "own", "--format", "png,csv"
    )
    assert code == 0 and "6 models at 2 rounds" in heard
    clients = {"features-clients.png", "features-clients.csv"}
    made = {path.name for path in (tmp_path / "figures").iterdir()}
    assert made == {
        "drift.png",
        "drift.csv",
        "cosines.png",
        "features.png",
        "features.csv",
        *clients,
    }


@pytest.mark.slow
def test_what_has_no_clients_is_looked_at_without_them(command, tmp_path):
    how = ("--what", "features", "--samples", "40", "--format", "html,csv")
    code, _, heard = command("features", "bare", *how)
    assert code == 0 and "1 model at 1 round" in heard
    page = (tmp_path / "figures/features.html").read_text("utf-8")
    assert "singular values of features" in page
    assert "effective rank" not in page, "one round is no course"
    assert "effective rank" in (tmp_path / "figures/features.csv").read_text("utf-8")


MISTAKES = {
    "no runs": ("table", "expected at least one run"),
    "no such run": ("curves nowhere", "nowhere: expected a run"),
    "mixed data": ("table avg-1 other-data", "expected runs on the same data"),
    "no clients": ("features bare", "expected rounds stored with their clients' models"),
    "no such round": ("features avg-1 --rounds 9", "expected one of the saved rounds"),
    "no such client": ("features avg-1 --what features --clients 77", "expected clients stored"),
    "no such quantity": ("curves avg-1 --y lr,los", "los: unknown quantity; did you mean loss?"),
    "no axis": ("curves avg-1 --x ,", "--x: expected names of quantities; got none"),
    "no quantity": ("curves avg-1 --y ,", "--y: expected names of quantities; got none"),
    "no such format": ("curves avg-1 -o c.jpg", "c.jpg: expected a name ending in .png"),
    "no such part": ("features avg-1 --what drifts", "what: expected some of drift, features"),
    "no number": ("features avg-1 --rounds last", "rounds: expected whole numbers"),
    "target in percent": ("table avg-1 --target 60", "target: expected an accuracy above 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_exit_code_2_and_no_file(command, tmp_path, mistake):
    words, expected = MISTAKES[mistake]
    code, text, heard = command(*words.split())
    last = heard.splitlines()[-1]
    assert (
        code == 2 and last.startswith("mpifl: ") and expected in last and "Traceback" not in heard
    )
    assert text == "" and list(tmp_path.iterdir()) == []


@pytest.fixture
def without(folder, tmp_path):
    """without(libraries, command, *arguments) -> the process of a command on a run, in an empty
    folder, where these libraries are not installed.
    """

    def run(libraries: str, *words: str) -> subprocess.CompletedProcess:
        hidden = tmp_path / "hidden"
        hidden.mkdir(exist_ok=True)
        for name in libraries.split():
            (hidden / f"{name}.py").write_text("raise ImportError('hidden')")
        paths = [str(hidden), os.environ.get("PYTHONPATH", "")]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        command = [sys.executable, "-m", "mpifl", words[0], str(folder / "avg-1"), *words[1:]]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    return run


@pytest.mark.slow
def test_a_table_needs_neither_matplotlib_nor_mpi(without):
    table = without("matplotlib plotly mpi4py", "table")
    assert table.returncode == 0, table.stderr
    assert table.stdout.startswith("| method")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["curves", "features"])
def test_a_figure_without_matplotlib_says_in_one_line_what_to_install(without, name):
    refused = without("matplotlib plotly", name)
    [line] = refused.stderr.splitlines()
    assert refused.returncode == 2
    assert line == (
        "mpifl: figures: expected matplotlib, to draw .png; it is not installed; "
        "`pip install matplotlib`, or write .csv"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("libraries", "out"),
    [("plotly", "c.png"), ("matplotlib", "c.html"), ("matplotlib plotly", "c.csv")],
)
def test_curves_need_only_the_library_that_draws_the_file(without, tmp_path, libraries, out):
    drawn = without(libraries, "curves", "-o", out)
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / out).exists()


@pytest.mark.parametrize(
    "name", ["table", "curves", "features", "hessian", "curvature", "landscape"]
)
def test_a_script_is_the_command_of_its_name(name, capsys):
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{name}.py", "--help"])
        patch.syspath_prepend(SCRIPTS)
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    script = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([name, "--help"], prog_name="mpifl")
    command = capsys.readouterr().out
    assert script.partition("\n")[2] == command.partition("\n")[2]


@pytest.fixture
def checkout(tmp_path):
    """A folder with a copy of the scripts in analysis/, whose Python knows no mpifl."""
    shutil.copytree(SCRIPTS, tmp_path / "analysis")
    return tmp_path


def script(checkout: Path) -> subprocess.CompletedProcess:
    """analysis/table.py started by a Python without mpifl."""
    command = [sys.executable, "-E", "-s", "-S", "analysis/table.py", "runs/a", "--last", "2"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True)


def test_a_script_outside_the_environment_is_started_in_the_checkouts_own(checkout):
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    done = script(checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "analysis/table.py runs/a --last 2\n"


def test_a_script_without_any_environment_says_in_one_line_what_to_do(checkout):
    refused = script(checkout)
    [line] = refused.stderr.splitlines()
    assert refused.returncode == 2
    assert "mpifl is not installed for" in line
    assert "make demo" in line
