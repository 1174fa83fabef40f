"""The examples of CONTRIBUTING.md run as they stand there."""

import re
from pathlib import Path

import tiny

from mpifl.algorithms import ALGORITHMS
from mpifl.losses import LOSSES

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def example(title: str) -> dict:
    """The names that the Python code under a heading defines."""
    section = TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    known: dict = {"__name__": "example"}
    exec(code, known)
    return known


def test_the_loss_trains_and_is_cross_entropy_at_strength_0(monkeypatch):
    monkeypatch.setitem(LOSSES, "confidence", example("A loss")["ConfidencePenalty"])
    plain = tiny.digests({})
    assert tiny.digests({"local": {"loss": "ce + confidence(beta=0.0)"}}) == plain
    assert tiny.digests({"local": {"loss": "ce + confidence(beta=0.2)"}}) != plain


def test_the_algorithm_trains_and_is_not_fedavg(monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "damped", example("A federated algorithm")["Damped"])
    assert tiny.digests({"algorithm": "damped"}) != tiny.digests({})


def test_every_file_that_it_names_is_there():
    package = Path(__file__).parents[1] / "mpifl"
    named = re.findall(r"`(?:mpifl/)?([a-z_0-9]+(?:/[a-z_0-9]+)*\.py)`", TEXT)
    files = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    made_up = {"losses/confidence.py", "algorithms/damped.py"}
    leaves = {Path(file).name for file in files}
    missing = [n for n in named if n not in files | made_up and not ("/" not in n and n in leaves)]
    assert [name for name in missing if not name.startswith("tests/")] == []
