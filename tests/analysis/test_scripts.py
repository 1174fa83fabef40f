"""The commands in analysis/: what they write, and how they refuse."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "analysis"

ALL = ("avg-1", "avg-2", "man-1", "man-2")


def test_table_prints_markdown_and_writes_files(script, tmp_path):
    code, text, heard = script("table.py", *ALL, "--target", "0.1")
    assert code == 0 and text.startswith("| method") and "published" in text and "ce + man" in text
    assert "ce: 2 runs, seeds 1, 2" in heard
    code, text, _ = script("table.py", *ALL, "-o", "out/t.tex", "-o", "out/t.csv")
    assert code == 0 and text.count("written to") == 2 and "booktabs" not in text
    with open(tmp_path / "out/t.csv") as file:
        assert [row["runs"] for row in csv.DictReader(file)] == ["2", "2"]
    assert (tmp_path / "out/t.tex").read_text().count(r"\\") == 3


def test_curves_writes_a_picture_a_page_and_the_numbers(script, tmp_path):
    given = (
        "--x",
        "round,seconds",
        "--log",
        "loss",
        "--published",
        "-o",
        "c.png",
        "-o",
        "c.html",
        "-o",
        "c.csv",
    )
    code, text, _ = script("curves.py", *ALL, *given)
    assert code == 0 and text.split() == [
        "written",
        "to",
        "c.png",
        "written",
        "to",
        "c.html",
        "written",
        "to",
        "c.csv",
    ]
    assert (tmp_path / "c.png").stat().st_size > 20_000
    with open(tmp_path / "c.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 4 * 4 and {row["group"] for row in rows} == {"ce", "ce + man"}


def test_features_fills_a_folder(script, tmp_path):
    code, text, heard = script(
        "features.py", "avg-1", "man-1", "--samples", "40", "--on", "own", "--format", "png,csv"
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


def test_what_has_no_clients_is_looked_at_without_them(script, tmp_path):
    code, _, heard = script("features.py", "bare", "--what", "features", "--samples", "40")
    assert (
        code == 0 and "1 model at 1 round" in heard and (tmp_path / "figures/features.png").exists()
    )


MISTAKES = {
    "no runs": ("table.py", "expected at least one run"),
    "no such run": ("curves.py nowhere", "nowhere: expected a run"),
    "mixed data": ("table.py avg-1 other-data", "expected runs on the same data"),
    "no clients": ("features.py bare", "expected rounds stored with their clients' models"),
    "no such round": ("features.py avg-1 --rounds 9", "expected one of the saved rounds"),
    "no such client": ("features.py avg-1 --what features --clients 77", "expected clients stored"),
    "no such quantity": ("curves.py avg-1 --y lr,los", "los: unknown quantity; did you mean loss?"),
    "no such format": ("curves.py avg-1 -o c.jpg", "c.jpg: expected a name ending in .png"),
    "no such part": ("features.py avg-1 --what drifts", "what: expected some of drift, features"),
    "no number": ("features.py avg-1 --rounds last", "rounds: expected whole numbers"),
    "target in percent": ("table.py avg-1 --target 60", "target: expected an accuracy above 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_exit_code_2_and_no_file(script, tmp_path, mistake):
    command, expected = MISTAKES[mistake]
    code, text, heard = script(*command.split())
    last = heard.splitlines()[-1]
    assert (
        code == 2 and last.startswith("mpifl: ") and expected in last and "Traceback" not in heard
    )
    assert text == "" and list(tmp_path.iterdir()) == []


def test_a_table_needs_neither_matplotlib_nor_mpi_and_a_figure_says_what_it_lacks(folder, tmp_path):
    hidden = "raise ImportError('hidden')"
    (tmp_path / "matplotlib.py").write_text(hidden)
    (tmp_path / "mpi4py.py").write_text(hidden)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def run(script: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(SCRIPTS / script), str(folder / "avg-1")]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    table, curves = run("table.py"), run("curves.py")
    assert (table.returncode, curves.returncode) == (0, 2), table.stderr + curves.stderr
    assert table.stdout.startswith("| method")
    assert curves.stderr.splitlines()[-1].startswith("mpifl: figures: expected matplotlib")
