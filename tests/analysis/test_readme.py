"""The notebook's way in analysis/README.md works as it is written."""

import re
import shutil
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from analysis.small import make

from mpifl.store.measurements import Findings

README = Path(__file__).parents[2] / "analysis" / "README.md"
HERE = {"20, 40": "2, 4", "[40]": "[4]"}
"""what the README's runs have stored, and what these have"""


def blocks(*parts: str) -> list[str]:
    """The Python code that belongs to these parts of the README, in order."""
    text = README.read_text(encoding="utf-8")
    found = (text.partition(f"\n## {part}\n")[2].partition("\n## ")[0] for part in parts)
    return [
        block for part in found for block in re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    ]


def test_the_examples_run_one_after_the_other(folder, tmp_path, monkeypatch):
    (tmp_path / "runs").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    known: dict = {}
    for block in blocks("From Python"):
        if "import xarray" in block:
            continue
        for theirs, ours in HERE.items():
            block = block.replace(theirs, ours)
        exec(block, known)
    assert isinstance(known["picture"], matplotlib.figure.Figure)
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF") and (
        tmp_path / "curves.html"
    ).exists()
    assert (
        known["found"]["drift_whole"].shape[0] == 2 and np.isfinite(known["own"]["accuracy"]).all()
    )


@pytest.mark.slow
def test_the_examples_of_curvature_and_landscapes_run(once, command, tmp_path):
    shutil.copytree(once("tiny-run", make), tmp_path / "runs" / "demo")
    code, _, _ = command(
        "hessian", "runs/demo", "--clients", "--quantities", "eigenvalues,diagonal,spectrum"
    )
    assert code == 0
    here = {
        "000040": "000002",
        "[40]": "[2]",
        "range(300)": "range(30)",
        "top=5": "top=3",
        "side=31": "side=3",
        "samples=200, top=3": "samples=20, top=3",
    }
    known: dict = {}
    for block in blocks("Curvature", "Landscapes"):
        for theirs, ours in here.items():
            block = block.replace(theirs, ours)
        exec(block, known)
    assert [row.round for row in known["metrics"](Findings.open("runs/demo"))] == [2, 2, 2, 2]
    assert known["density"].shape == known["of"].grid().shape
    assert known["panels"][1][0].loss.shape == (3, 3)
