"""The notebook's way in analysis/README.md works as it is written."""

import re
from pathlib import Path

import matplotlib.figure
import numpy as np

README = Path(__file__).parents[2] / "analysis" / "README.md"
HERE = {"20, 40": "2, 4", "[40]": "[4]"}
"""what the README's runs have stored, and what these have"""


def blocks() -> list[str]:
    """The Python code that belongs to this part of the README, in order."""
    part = README.read_text(encoding="utf-8").partition("## From Python")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", part, re.DOTALL)


def test_the_examples_run_one_after_the_other(folder, tmp_path, monkeypatch):
    (tmp_path / "runs").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    known: dict = {}
    for block in blocks():
        if "import xarray" in block:
            continue
        for theirs, ours in HERE.items():
            block = block.replace(theirs, ours)
        exec(block, known)
    assert isinstance(known["picture"], matplotlib.figure.Figure)
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF") and (tmp_path / "curves.html").exists()
    assert known["found"]["drift_whole"].shape[0] == 2 and np.isfinite(known["own"]["accuracy"]).all()
